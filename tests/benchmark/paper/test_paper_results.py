"""The results of the paper's experiments in docs/ are what their records say."""

import pytest
from helpers.markdown import tables
from helpers.project import ROOT

from mmfasternet.benchmark.paper.ablation import report as ablation
from mmfasternet.benchmark.paper.approximation import report as approximation
from mmfasternet.benchmark.paper.experiment import Experiment
from mmfasternet.benchmark.paper.operators import report as operators
from mmfasternet.benchmark.paper.redundancy import report as redundancy
from mmfasternet.benchmark.paper.saliency import report as saliency
from mmfasternet.benchmark.records import Records, read_json

RESULTS = ROOT / 'docs/results/paper'
REPORTS = {module.REPORT.name: module.REPORT for module in (operators, redundancy, saliency, approximation, ablation)}


@pytest.mark.parametrize('name', REPORTS)
def test_pages_are_drawn_from_the_records(name):
    folder = RESULTS / name
    records = Records.read(folder / 'records.json')
    # As it is read, and not brought up to a newer version first.
    assert records.records == read_json(folder / 'records.json')['records']
    assert Experiment(name, records).records.records
    committed, drawn = (folder / f'{name}.md').read_text(), REPORTS[name].page(records)
    assert tables(committed) == tables(drawn)
    # What speaks against it stands before the first figure and table.
    head = committed[: committed.index('![')]
    assert '## What speaks against' in head and not tables(head)
    assert [line for line in committed.splitlines() if line.startswith('- ')] == [
        line for line in drawn.splitlines() if line.startswith('- ')
    ]
    assert f'results/paper/{name}/{name}.png' in (ROOT / 'docs/paper.md').read_text()
    for record in records.records:
        assert record['commit'] and not record['commit'].endswith('+')


def test_results_are_small():
    assert sorted(path.name for path in RESULTS.iterdir()) == sorted(REPORTS)
    for path in RESULTS.rglob('*.*'):
        assert path.suffix in ('.json', '.md', '.png')
        assert path.suffix != '.png' or path.stat().st_size < 300_000
