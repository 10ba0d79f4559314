"""The committed results of both comparisons are what their records say."""

import re

import pytest
from helpers.markdown import tables
from helpers.project import ROOT

from mmfasternet.benchmark.comparison.collect import collect
from mmfasternet.benchmark.comparison.tables import comparison_page
from mmfasternet.benchmark.comparison.trained_report import trained_page
from mmfasternet.benchmark.published.rows import BUILT_ROWS, ROWS, TRAINED_ROWS
from mmfasternet.benchmark.records import SCOPES, Records

RESULTS = ROOT / 'docs/results'


@pytest.fixture(scope='module')
def compared():
    return Records.read(RESULTS / 'compare/records.json')


@pytest.fixture(scope='module')
def trained():
    return Records.read(RESULTS / 'compare_trained/records.json')


def test_tables_are_drawn_from_the_records(compared, trained):
    assert tables((RESULTS / 'compare/compare.md').read_text()) == tables(comparison_page(collect([compared])))
    page = (RESULTS / 'compare_trained/compare_trained.md').read_text()
    assert tables(page) == tables(trained_page(trained, [compared]))


def test_every_row_is_measured(compared, trained):
    for records, rows, scopes in ((compared, BUILT_ROWS, SCOPES[:2]), (trained, TRAINED_ROWS, SCOPES)):
        names = sorted(row.name for row in rows)
        assert sorted(record['row'] for record in records.of_kind('complexity')) == names
        timed = [sorted(record['row'] for record in records.of_kind('latency', scope=scope)) for scope in scopes]
        assert all(found == timed[0] for found in timed)
        if records is trained:
            assert timed[0] == names
    # The backbones of the paper's Table 4 at least.
    timed = {record['row'] for record in compared.of_kind('latency')}
    assert timed >= {row.name for row in ROWS if row.published and row.published.latency_ms}
    runs = {(record['row'], record['seed']) for record in trained.of_kind('ap')}
    assert runs == {(row.name, seed) for row in TRAINED_ROWS for seed in (0, 1)}


def test_code_that_measured_is_kept(compared, trained):
    for record in (*compared.records, *trained.records):
        # A '+' would stand for changes that were never committed.
        assert record['commit'] and not record['commit'].endswith('+')


def test_figures_are_small():
    for folder in ('compare', 'compare_trained'):
        for path in (RESULTS / folder).glob('*.png'):
            assert path.stat().st_size < 300_000, path


def test_where_fasternet_stands_is_computed_from_the_records(compared):
    """Latency ratios and AP beside FasterNet's: the table of the guide, and the README's first screen."""
    latencies = {(record['label'], record['scope']): record for record in compared.of_kind('latency')}
    aps = {row.label: f'{row.published.box_ap} / {row.published.mask_ap}' for row in ROWS if row.published}
    section = (ROOT / 'docs/compare.md').read_text().split('Where FasterNet stands')[1].split('\n## ')[0]
    lines = tables(section)[0][1:]
    for label, ap, beside, *ratios in lines:
        other, other_ap = re.fullmatch(r'(\S+) \((.+)\)', beside).groups()
        assert (ap, other_ap) == (aps[label], aps[other])
        for scope, ratio in zip(SCOPES[:2], ratios, strict=True):
            pair = latencies[label, scope], latencies[other, scope]
            flag = r' \*' if any(record['flags'] for record in pair) else ''
            assert ratio == f'{pair[0]["median_ms"] / pair[1]["median_ms"]:.2f}{flag}'
    first_screen = (ROOT / 'README.md').read_text().split('\n## ')[0]
    # The ratio on a GPU is that of other records, which its own test reads.
    on_cpu = first_screen.split('H200')[0]
    assert set(re.findall(r'0\.\d\d', on_cpu)) <= {ratio.split()[0] for *_, ratio, _ in lines}
    assert set(re.findall(r'\d\d\.\d / \d\d\.\d', first_screen)) <= set(aps.values())
