"""The committed figures of a GPU, and what README and the guides say of them."""

import re

import pytest
from helpers.markdown import tables
from helpers.project import ROOT

from mmfasternet.benchmark.gpu.measured import Cell, cells_of, is_tied, run_ms, speedups
from mmfasternet.benchmark.records import Records

RESULTS = ROOT / 'docs/results/gpu'
MANY, ONE = Cell('s', (224, 224), 256, 'fp16', 'cast'), Cell('s', (800, 1280), 1, 'fp16', 'cast')
FORMS = ('optimized', 'optimized, graph')


@pytest.fixture(scope='module')
def measured():
    return Records.read(RESULTS / 'records.json')


@pytest.mark.parametrize('name', ['deploy.md', 'deploy.zh.md'])
def test_the_guide_says_what_was_measured(name, measured):
    cells = cells_of(measured)
    section = re.split(r'\n## (?:On a )?GPU\n', (ROOT / 'docs' / name).read_text())[1].split('\n## ')[0]
    lines = tables(section)[0][1:]
    fastest = {cell: next(way for way, ratio in speedups(cells)[cell].items() if ratio == 1) for cell in (MANY, ONE)}
    for line, ways in zip(lines, [fastest, *({MANY: form, ONE: form} for form in FORMS)], strict=True):
        for text, (cell, way) in zip(line[1:], ways.items(), strict=True):
            record = cells[cell][way]
            assert float(re.sub(r'[^\d]', '', text)) == pytest.approx(1000 * cell.batch / run_ms(record), rel=5e-3)
            assert text.endswith('*') == bool(record['flags'])
    gains = {
        f'{speedups(cells)[cell]["optimized"]:.2f}' for cell in cells if cell.arch in 'sl' and cell.batch == MANY.batch
    }
    steps = {
        f'{ours["median_ms"] / timm["median_ms"]:.2f}'
        for ours in measured.of_kind('training', contender='as it is')
        for timm in measured.of_kind('training', contender='timm', precision=ours['precision'])
    }
    assert {*gains, *steps} <= set(re.findall(r'\d\.\d\d\b', section))
    worst = {
        precision: max(
            value
            for record in measured.of_kind('gpu', part='differences')
            if record['settings']['precision'] == precision
            for value in record['figures'].values()
        )
        for precision in ('fp16', 'fp32')
    }
    assert {float(text) for text in re.findall(r'\d\.\de-\d', section)} == {
        float(f'{value:.1e}') for value in worst.values()
    }


def test_what_readme_says_of_the_gpu_is_not_flagged():
    records = Records.read(ROOT / 'docs/results/compare_gpu/records.json')
    latencies = {record['row']: record for record in records.of_kind('latency', scope='backbone')}
    ahead, ours = latencies['convnext_tiny_3x'], latencies['fasternet_m']
    assert not ahead['flags'] and not ours['flags'] and not is_tied(ahead, ours)
    ratio = f'{ahead["median_ms"] / ours["median_ms"]:.2f}'
    for name in ('README.md', 'docs/compare.md', 'docs/compare.zh.md'):
        (text,) = re.findall(r'H200.*?(0\.\d\d)', (ROOT / name).read_text(), re.DOTALL)[:1]
        assert text == ratio
