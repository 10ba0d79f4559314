"""The comparison from nothing to the page, on one small backbone and small pictures."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.project import ROOT, run_tool

from mmfasternet.benchmark.comparison import compare as module
from mmfasternet.benchmark.comparison.compare import compare
from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.benchmark.published.rows import find_row
from mmfasternet.benchmark.records.records import read_records
from mmfasternet.errors import UserError
from mmfasternet.files import write_json

TOOL = ROOT / 'tools/benchmark/compare.py'
TINY = Protocol(shape=(64, 96), scopes=('backbone',), path='deploy', rounds=1, warmup=1, runs=1)
METRICS = {'coco/bbox_mAP': 0.321, 'coco/segm_mAP': 0.301}


def kinds(path):
    return [(record['kind'], record['row']) for record in read_records(path)['records']]


def test_from_nothing_to_the_page_and_again(tmp_path, monkeypatch):
    rows = [find_row('fasternet_t0'), find_row('resnet50')]
    metrics = write_json(tmp_path / 'metrics.json', METRICS)
    written = compare(rows, TINY, tmp_path / 'out', metrics={'fasternet_t0': str(metrics)})
    assert {'index.html', 'comparison.png', 'comparison.csv', 'flops_latency.svg'} <= set(written)
    records = tmp_path / 'out/records.json'
    assert sorted(kinds(records)) == [
        ('ap', 'fasternet_t0'),
        *(('complexity', name) for name in ('fasternet_t0', 'resnet50')),
        *(('latency', name) for name in ('fasternet_t0', 'resnet50')),
    ]
    text = written['comparison.md'].read_text()
    assert '| FasterNet-T0 | 32.1 *measured*' in text and '| ResNet50 | 38.0 *published* |' in text

    # Nothing that stands is made again; a newer AP replaces the older.
    monkeypatch.setattr(module, 'count_complexity', None)
    before = read_records(records)['records']
    write_json(metrics, {**METRICS, 'coco/bbox_mAP': 0.4})
    compare(rows, TINY, tmp_path / 'out', metrics={'fasternet_t0': str(metrics)})
    after = read_records(records)['records']
    assert [r for r in after if r['kind'] != 'ap'] == [r for r in before if r['kind'] != 'ap']
    assert [r['box_ap'] for r in after if r['kind'] == 'ap'] == [40.0]

    # Another machine's records join them.
    other = json.loads(records.read_text())
    other['machine'].update(id='ffffffff', label='another machine')
    write_json(tmp_path / 'other.json', other)
    page = compare(rows, TINY, tmp_path / 'out', [tmp_path / 'other.json'], measure=False)['index.html'].read_text()
    assert 'another machine' in page
    # Drawn alone, they may be of any machine.
    write_json(records, other)
    page = compare(rows, TINY, tmp_path / 'out', measure=False)['index.html'].read_text()
    assert 'another machine' in page


def test_a_checkpoint_is_tested_on_the_configs_data(tmp_path, monkeypatch):
    def tested(row, checkpoint, work_dir):
        assert (row.name, checkpoint) == ('fasternet_t0', 'epoch_12.pth')
        return write_json(Path(work_dir) / 'time/time.json', METRICS)

    monkeypatch.setattr(module, 'run_test', tested)
    compare([], TINY, tmp_path, checkpoints={'fasternet_t0': 'epoch_12.pth'}, measure=False)
    (record,) = read_records(tmp_path / 'records.json')['records']
    assert record['checkpoint'] == 'epoch_12.pth' and record['box_ap'] == 32.1
    assert record['dataset'] == 'data/coco/annotations/instances_val2017.json'


@pytest.mark.slow
def test_a_failing_test_is_said(tmp_path):
    with pytest.raises(UserError, match='the test of FasterNet-T0 failed, see above'):
        compare([], TINY, tmp_path, checkpoints={'fasternet_t0': str(tmp_path / 'none.pth')}, measure=False)


def test_a_mistake_shows_before_anything_takes_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'count_complexity', None)
    rows = [find_row('fasternet_t0')]
    with pytest.raises(UserError, match='can not read .*none.json'):
        compare(rows, TINY, tmp_path, [tmp_path / 'none.json'])
    with pytest.raises(UserError, match='neither a config file nor a row'):
        compare(rows, TINY, tmp_path, metrics={'fasternet_x': 'metrics.json'})
    assert list(tmp_path.iterdir()) == []


def test_tool_draws_what_is_published(tmp_path):
    done = run_tool(TOOL, '--report-only', '--out-dir', tmp_path / 'out', MPLBACKEND='', DISPLAY='')
    assert done.returncode == 0, done.stderr
    assert 'index.html' in done.stdout and (tmp_path / 'out/index.html').is_file()


def test_tool_says_what_is_wrong(mistake_of, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'records.json').write_text('{"format": "mmfasternet-rec')
    whole = shutil.copytree(out, tmp_path / 'copy')
    for words, message in (
        (['--rows', 'fasternet_x'], "'fasternet_x' is neither a config file nor a row"),
        (['--ap', 'fasternet_s'], "--ap takes ROW=FILE, but got 'fasternet_s'"),
        (['--report-only'], 'records.json is not JSON, or was cut off'),
        (['--report-only', '--out-dir', '/dev/null/x'], 'can not write /dev/null/x'),
        (['--device', 'cuda:9'], "device 'cuda:9' can not be used here"),
    ):
        sentence = mistake_of(TOOL, '--out-dir', out, *words)
        assert sentence.startswith('error: ') and message in sentence
    assert (out / 'records.json').read_text() == (whole / 'records.json').read_text()
