"""The results in docs/ are what their records say."""

from pathlib import Path

import pytest

from mmfasternet.benchmark.complexity_table import complexity_table
from mmfasternet.benchmark.records import read_json, read_records
from mmfasternet.benchmark.rows import ROWS
from mmfasternet.benchmark.table import collect, csv_table, markdown_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'docs/results/comparison'
DETECTORS = ROOT / 'docs/results/detectors'
CONFIGS = ROOT / 'configs'


@pytest.fixture(scope='module')
def document():
    return read_records(RESULTS / 'records.json')


def test_tables_are_drawn_from_the_records(document):
    report = collect([document])
    assert (RESULTS / 'comparison.csv').read_text() == csv_table(report)
    assert (RESULTS / 'comparison.md').read_text() == markdown_table(report)


def test_every_row_is_measured_by_code_that_is_kept(document):
    names = {row.name for row in ROWS}
    for kind, settings in (
        ('complexity', {}),
        ('latency', dict(scope='backbone')),
        ('latency', dict(scope='detector')),
    ):
        records = [r for r in document['records'] if r['kind'] == kind and r.items() >= settings.items()]
        assert {record['row'] for record in records} == names and len(records) == len(names)
    for record in document['records']:
        # A '+' would stand for changes that were never committed.
        assert record['commit'] and not record['commit'].endswith('+')


def test_page_of_the_detectors_is_drawn_from_the_records(document):
    page, detectors = (ROOT / 'docs/detectors.md').read_text(), read_records(DETECTORS / 'records.json')
    assert complexity_table([detectors, document]) in page
    records = [r for r in [*detectors['records'], *document['records']] if r['kind'] == 'complexity']
    files = [
        path for pattern in ('mask_rcnn_*.py', 'detection/*.py', 'baselines/*.py') for path in CONFIGS.glob(pattern)
    ]
    assert sorted(record['config'] for record in records) == sorted(path.relative_to(ROOT).as_posix() for path in files)
    for record in detectors['records']:
        assert record['commit'] and not record['commit'].endswith('+')

    trained = read_json(DETECTORS / 'retinanet_shapes.json')
    assert trained['box_ap'] >= 55 and f'**{trained["box_ap"] / 100:.3f}**' in page
