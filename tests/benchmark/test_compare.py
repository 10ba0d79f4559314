"""The comparison with published AP from nothing to the page, on small backbones and small images."""

import json
import os
import shutil
from pathlib import Path

import pytest
from helpers.markdown import tables
from helpers.project import ROOT, succeed

from mmfasternet.benchmark.comparison import compare as module
from mmfasternet.benchmark.comparison.ap import ap_record, run_test
from mmfasternet.benchmark.comparison.collect import collect
from mmfasternet.benchmark.comparison.compare import compare
from mmfasternet.benchmark.comparison.report import write_report
from mmfasternet.benchmark.comparison.tables import comparison_page
from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.benchmark.published.rows import ROWS, Row, find_row
from mmfasternet.benchmark.records import Records
from mmfasternet.engine.testing import newest_metrics
from mmfasternet.errors import UserError
from mmfasternet.files import write_json

TOOL = ROOT / 'tools/benchmark/compare.py'
TINY = Protocol(shape=(64, 96), scopes=('backbone',), path='folded', rounds=1)
METRICS = {'coco/bbox_mAP': 0.321, 'coco/segm_mAP': 0.301}


def figures_of(page):
    """First cell of a line → its cells, of the table of all figures."""
    return {line[0]: line for line in max(tables(page), key=lambda table: len(table[0]))[1:]}


def test_from_nothing_to_the_page_and_again(undrawn, tmp_path, monkeypatch):
    path, rows = tmp_path / 'out/records.json', [find_row('fasternet_t0'), find_row('resnet50')]
    metrics = write_json(tmp_path / 'metrics.json', METRICS)
    records = compare(path, rows, TINY, metrics={'fasternet_t0': str(metrics)})
    written = write_report([records], tmp_path / 'out')
    assert {'index.html', 'compare.png', 'compare.csv', 'flops_latency.png'} <= set(written)
    before = Records.read(path)
    assert sorted((record['kind'], record['row']) for record in before.records) == [
        ('ap', 'fasternet_t0'),
        *(('complexity', name) for name in ('fasternet_t0', 'resnet50')),
        *(('latency', name) for name in ('fasternet_t0', 'resnet50')),
    ]
    figures = figures_of(written['compare.md'].read_text())
    assert figures['FasterNet-T0'][1].startswith('32.1 *measured*') and figures['ResNet50'][1] == '38.0 *published*'

    # Nothing that is there is made again; a newer AP replaces the older.
    monkeypatch.setattr(module, 'count_complexity', None)
    write_json(metrics, {**METRICS, 'coco/bbox_mAP': 0.4})
    compare(path, rows, TINY, metrics={'fasternet_t0': str(metrics)})
    after = Records.read(path)
    for kind in ('complexity', 'latency'):
        assert after.of_kind(kind) == before.of_kind(kind)
    assert [record['box_ap'] for record in after.of_kind('ap')] == [40.0]


def test_ap_of_an_earlier_test(tmp_path):
    metrics = {**METRICS, 'coco/bbox_mAP_50': 0.612, 'coco/bbox_mAP_s': -1.0}
    path = write_json(tmp_path / 'run/20260101_000000/20260101_000000.json', metrics)
    # The hour that comes twice: written later under an earlier name. And a folder that is no test.
    again = write_json(tmp_path / 'run/20251231_235959/20251231_235959.json', metrics)
    write_json(tmp_path / 'run/zzz/other.json', {})
    os.utime(path, ns=(1, 1))
    assert newest_metrics(tmp_path / 'run') == again
    os.utime(again, ns=(0, 0))
    assert newest_metrics(tmp_path / 'run') == path
    record = Records(dict(id='c0ffee00', label='here'), tmp_path / 'records.json').add(ap_record(ROWS[0], path))
    assert (record['box_ap'], record['box_ap50'], record['mask_ap']) == (32.1, 61.2, 30.1)
    assert 'box_ap75' not in record and record['dataset'] is None
    assert Records.read(tmp_path / 'records.json').records == [record]


@pytest.mark.parametrize(
    ('metrics', 'facts'),
    [
        ({**METRICS, 'coco/bbox_mAP': -1.0}, r'coco/bbox_mAP .*-1\.0'),
        ({**METRICS, 'coco/bbox_mAP': 32.1}, r'coco/bbox_mAP .*from 0 to 1.*32\.1'),
        ({'coco/bbox_mAP': 0.4}, 'coco/segm_mAP .*None'),
        ([METRICS], 'metrics.json .*list'),
    ],
)
def test_an_impossible_ap_is_named(tmp_path, metrics, facts):
    with pytest.raises(UserError, match=facts):
        ap_record(ROWS[0], write_json(tmp_path / 'metrics.json', metrics))


def test_a_folder_without_metrics_is_named(tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        newest_metrics(tmp_path)


def test_records_of_another_machine_are_drawn_and_not_added_to(tmp_path):
    path = tmp_path / 'records.json'
    Records(dict(id='ffffffff', label='another machine'), path).save()
    assert compare(path, [], TINY, measure=False).machine['label'] == 'another machine'
    with pytest.raises(UserError, match='another machine'):
        compare(path, [], TINY)


def test_a_checkpoint_is_tested_on_the_configs_data(tmp_path, monkeypatch):
    def tested(row, checkpoint, work_dir, trust_checkpoint):
        assert (row.name, checkpoint, trust_checkpoint) == ('fasternet_t0', 'epoch_12.pth', True)
        return write_json(Path(work_dir) / 'time/time.json', METRICS)

    monkeypatch.setattr(module, 'run_test', tested)
    checkpoints = {'fasternet_t0': 'epoch_12.pth'}
    compare(tmp_path / 'records.json', [], TINY, checkpoints=checkpoints, measure=False, trust_checkpoint=True)
    (record,) = Records.read(tmp_path / 'records.json').records
    assert record['checkpoint'] == 'epoch_12.pth' and record['box_ap'] == 32.1
    assert record['dataset'] == 'data/coco/annotations/instances_val2017.json'


@pytest.mark.parametrize('trust', [False, True])
def test_trust_reaches_the_test(tmp_path, monkeypatch, trust):
    commands = []
    monkeypatch.setattr(
        'mmfasternet.benchmark.comparison.ap.started', lambda command: commands.append(command) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        run_test(find_row('fasternet_t0'), 'epoch_12.pth', tmp_path, trust)
    assert ('--trust-checkpoint' in commands[0]) == trust


@pytest.mark.slow
def test_a_failing_test_is_said(tmp_path):
    checkpoints = {'fasternet_t0': str(tmp_path / 'none.pth')}
    with pytest.raises(UserError, match='test of FasterNet-T0 failed'):
        compare(tmp_path / 'records.json', [], TINY, checkpoints=checkpoints, measure=False)


def test_a_mistake_shows_before_anything_takes_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'count_complexity', None)
    for metrics, named in (
        ({'fasternet_x': 'metrics.json'}, 'fasternet_x'),
        ({'fasternet_s': str(tmp_path / 'none.json')}, 'none.json'),
    ):
        with pytest.raises(UserError, match=named):
            compare(tmp_path / 'records.json', [find_row('fasternet_t0')], TINY, metrics=metrics)
    assert list(tmp_path.iterdir()) == []


def test_a_backbone_is_one_config_and_one_row(tmp_path, monkeypatch):
    """Counted, measured, drawn beside the others, and found by its name, with nothing else that knows of it."""
    config = tmp_path / 'mask_rcnn_narrow.py'
    config.write_text(
        f'_base_ = {str(ROOT / "configs/mask_rcnn_fasternet_t0.py")!r}\n'
        'arch = dict(_delete_=True, embed_dims=16, depths=(1, 1, 1, 1))\n'
        'model = dict(backbone=dict(arch=arch), neck=dict(in_channels=[16, 32, 64, 128]))\n'
    )
    row = Row('narrow', 'Narrow', 'Narrow family', str(config), published=find_row('fasternet_s').published)
    monkeypatch.setattr('mmfasternet.benchmark.published.rows.ROWS', (*ROWS, row))
    assert find_row('narrow') == row
    records = compare(tmp_path / 'records.json', [row], TINY)
    report = collect([records], known=(*ROWS, row))
    assert report.rows[-1].label == 'Narrow' and report.rows[-1].ap.box == find_row('fasternet_s').published.box_ap
    assert report.rows[-1].complexity['params'] > 0 and len(report.rows[-1].latencies) == 1
    assert report.styles['Narrow family'] not in [
        style for family, style in report.styles.items() if family != 'Narrow family'
    ]
    figures = figures_of(comparison_page(report))
    assert figures['Narrow'][1] == figures['FasterNet-S'][1] == '39.9 *published*' and figures['Narrow'][-1]


def test_tool_draws_what_is_published_and_what_others_measured(tmp_path):
    other = json.loads((ROOT / 'docs/results/compare/records.json').read_text())
    other['machine'].update(id='ffffffff', label='another machine')
    write_json(tmp_path / 'other.json', other)
    out = tmp_path / 'out'
    done = succeed(
        TOOL, '--report-only', '--out-dir', out, '--records', tmp_path / 'other.json', MPLBACKEND='', DISPLAY=''
    )
    assert 'index.html' in done.stdout and 'another machine' in (out / 'index.html').read_text()
    # Nothing was measured here.
    assert not (out / 'records.json').exists()


def test_tool_says_what_is_wrong(mistake_of, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'records.json').write_text('{"format": "mmfasternet-rec')
    untouched = shutil.copytree(out, tmp_path / 'copy')
    for words, named in (
        (['--rows', 'fasternet_x'], 'fasternet_x'),
        (['--ap', 'fasternet_s'], 'ROW=FILE'),
        (['--records', tmp_path / 'none.json'], 'none.json'),
        (['--report-only'], 'records.json'),
        (['--report-only', '--out-dir', '/dev/null/x'], '/dev/null/x'),
        (['--device', 'cuda:9'], 'cuda:9'),
    ):
        message = mistake_of(TOOL, '--out-dir', out, *words)
        assert message.startswith('error: ') and named in message
    assert (out / 'records.json').read_text() == (untouched / 'records.json').read_text()
