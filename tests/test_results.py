"""The results in docs/ are what their records say."""

from pathlib import Path

import pytest

from mmfasternet.benchmark.records import read_records
from mmfasternet.benchmark.rows import ROWS
from mmfasternet.benchmark.table import collect, csv_table, markdown_table

RESULTS = Path(__file__).resolve().parents[1] / 'docs/results/comparison'


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
