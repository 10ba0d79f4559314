"""The page that compares mmcv's compiled operators with torchvision's, and what the comparison needs."""

import sys

import pytest
from helpers.project import ROOT

from mmfasternet.benchmark.records import Records, describe_machine
from mmfasternet.engine.torchvision_ops import TorchvisionOps

pytest.importorskip('mmdet')


def timed(name: str, contender: str, median: float, flags: tuple = ()) -> dict:
    quartiles = [0.99 * median, 1.01 * median]
    figures = dict(median_ms=median, p90_ms=median, quartiles_ms=quartiles, throughput=1000 / median)
    return dict(
        kind='ops', row=name, label=name, contender=contender, threads=2, rounds=[], flags=list(flags), **figures
    )


def test_page_marks_what_is_faster_and_leaves_ties(tmp_path):
    from mmfasternet.benchmark.engines.ops import write_ops

    records = Records(describe_machine())
    for name, medians in {'NMS': (20.0, 10.0), 'step': (300.0, 301.0)}.items():
        for contender, median in zip(('mmcv', 'torchvision'), medians, strict=True):
            records.add(timed(name, contender, median, flags=['it was busy'] if name == 'step' else []))
    for contender in ('mmcv', 'torchvision'):
        ap = dict(kind='ap', row='demo', label='demo', dataset='shapes', box_ap=72.7, mask_ap=65.5)
        records.add(dict(ap, contender=contender))
    page = write_ops(records, tmp_path)['ops.md'].read_text()
    assert '| NMS | 20.0 | **10.0** |' in page
    assert '| step | 300 \\* | 301 \\* |' in page and 'step, mmcv: it was busy' in page
    for contender in ('mmcv', 'torchvision'):
        assert f'| {contender} | 72.70 | 65.50 |' in page


def test_nothing_is_compared_without_compiled_operators(mistake_of, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'mmcv._ext', TorchvisionOps('mmcv._ext'))
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'epoch_4.pth').touch()
    tool = ROOT / 'tools/benchmark/ops.py'
    assert 'make ops' in mistake_of(tool, '--checkpoint', 'epoch_4.pth')
    assert 'make demo' in mistake_of(tool, '--checkpoint', 'absent.pth')
