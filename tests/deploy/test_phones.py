"""Files of ncnn and ExecuTorch: what the model's own predict finds, with the packages that make them, and refusals."""

import json
import re
import runpy
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import rich
import torch
from helpers.complete_models import build_small, write_small
from helpers.project import EXPORTS, ROOT, run_tool

if not EXPORTS:
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

from helpers.artifacts import write_data

from mmfasternet.benchmark.artifacts.exported import ExportedDetector
from mmfasternet.benchmark.artifacts.measure import Plan, measure_artifacts
from mmfasternet.benchmark.artifacts.runtimes import open_detector, runtimes_of
from mmfasternet.benchmark.records import Records
from mmfasternet.deploy import phones
from mmfasternet.deploy.heads import complete_graph
from mmfasternet.deploy.phones import export_for_phone
from mmfasternet.engine.build import build_model
from mmfasternet.errors import UserError
from mmfasternet.predictions.dense import decoding_of
from mmfasternet.predictions.maps_file import open_maps_file
from mmfasternet.predictions.onnx_run import predict_with_file

SHAPE = (128, 160)
HEADS = ('RetinaHead', 'FCOSHead', 'ATSSHead', 'RTMDetSepBNHead')
# Not in the tested pins, since it brings 400 MB of packages; docs/deploy.md says how these tests are run.
needs_executorch = pytest.mark.skipif(
    not find_spec('executorch'), reason='executorch is not installed: pip install mmfasternet[executorch]'
)


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """Head → config and checkpoint of a small model that finds objects in any image."""
    folder, made = tmp_path_factory.mktemp('small'), {}

    def of(head: str):
        if head not in made:
            config, checkpoint = write_small(head, folder / f'{head.lower()}.py'), folder / f'{head}.pth'
            torch.save(dict(state_dict=build_small(config).state_dict()), checkpoint)
            made[head] = config, str(checkpoint)
        return made[head]

    return of


@pytest.mark.parametrize('head', HEADS)
@torch.no_grad()
def test_maps_are_decoded_as_by_the_models_own_predict(head, small):
    """In numpy, without any runtime."""
    graph = complete_graph(build_small(small(head)[0]))
    image = phones.scenes(graph, 1, *SHAPE)
    maps = [one[0].numpy() for of_levels in graph.maps(image) for one in of_levels]
    found = decoding_of(json.loads(json.dumps(graph.decoding)))(maps, *SHAPE)
    assert len(found[0]) > 30 and found[0].dtype == found[1].dtype == np.float32
    assert f'{len(found[0])} detections' in graph.check(found, graph.predict(image), 'fp32')


@pytest.fixture(scope='module')
def detector(small, tmp_path_factory):
    """RTMDet, whose levels share modules, in ncnn."""
    config, checkpoint = small('RTMDetSepBNHead')
    out = tmp_path_factory.mktemp('ncnn') / 'detector.ncnn.param'
    return export_for_phone(config, out, SHAPE, checkpoint=checkpoint, max_detections=50)


def test_a_detector_in_ncnn_is_the_models_own_predict(detector):
    path, weights, sidecar = detector.paths
    assert [one.name for one in detector.paths] == [f'detector.ncnn.{end}' for end in ('param', 'bin', 'param.json')]
    assert sorted(path.parent.iterdir()) == sorted(detector.paths) and weights.stat().st_size > 100_000
    assert detector.outputs == [(n, h, w) for n in (5, 4) for h, w in ((16, 20), (8, 10), (4, 5))]
    # Both were compared before: the maps, and the boxes that numpy makes of them.
    assert re.fullmatch(r'maps differ by at most .*e-0[5-9] of .*; 50 detections: boxes differ .*', detector.difference)
    content = json.loads(sidecar.read_text())
    assert content['shape'] == list(SHAPE) and content['decoding']['max_per_img'] == 50
    assert content['input']['resize'] == [dict(type='Fit', width=160, height=128)]
    file = open_maps_file(path, threads=1)
    assert file.shape == SHAPE and file.batch == 1 and file.metadata.task == 'detection'
    # An image of another size is fitted, and boxes are in its own pixels.
    found = ExportedDetector(file)(np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8))
    assert 0 < len(found.boxes) <= 50 and found.masks is None
    assert found.boxes[:, 3].max() > 160 and (found.boxes <= [200.01, 300.01] * 2).all()


def test_a_file_of_ncnn_is_predicted_without_pytorch(detector, tmp_path):
    write_data(tmp_path, images=1)
    code = (
        'import importlib.util, sys; '
        "sys.modules['mmfasternet'] = importlib.util.module_from_spec(importlib.util.find_spec('mmfasternet')); "
        'from mmfasternet.predictions.onnx_run import predict_with_file; '
        "print(predict_with_file(*sys.argv[1:])[0], 'torch' in sys.modules)"
    )
    done = run_tool(sys.executable, '-c', code, detector.paths[0], tmp_path / 'val', tmp_path / 'out')
    assert done.stdout.split() == ['1', 'False'], done.stderr
    written = json.loads((tmp_path / 'out/predictions.json').read_text())
    assert written['info']['precision'] == 'fp32' and len(written['categories']) == 80


def test_a_file_of_ncnn_is_an_artifact(detector, tmp_path):
    classes = tuple(json.loads(detector.paths[2].read_text())['classes'])
    data = write_data(tmp_path, images=2, classes=classes[:2])
    assert runtimes_of(detector.paths[0]) == ['ncnn'] and runtimes_of('a.pte') == ['executorch']
    content = json.loads(detector.paths[2].read_text())
    detector_of_two = tmp_path / 'two.ncnn.param'
    for path in detector.paths[:2]:
        (tmp_path / path.name.replace('detector', 'two')).write_bytes(path.read_bytes())
    del content['palette']
    renamed = content | dict(classes=[f'other {number}' for number in range(5)])
    (tmp_path / 'two.ncnn.param.json').write_text(json.dumps(renamed))
    records = Records.open(tmp_path / 'records.json')
    plan = Plan(timed=1, seconds=0, starts=1)
    with pytest.raises(UserError, match='two.ncnn.param has the classes other 0, .*'):
        measure_artifacts([detector_of_two], data, records, ('ncnn',), plan)
    data.write_text(data.read_text().replace(repr(classes[:2]), repr(tuple(renamed['classes']))))
    coco = json.loads((tmp_path / 'coco.json').read_text())
    coco['categories'] = [dict(id=number, name=f'other {number}') for number in range(5)]
    coco['annotations'] = [one | dict(category_id=0) for one in coco['annotations']]
    (tmp_path / 'coco.json').write_text(json.dumps(coco))
    measure_artifacts([detector_of_two], data, records, ('ncnn',), plan)
    (row,) = records.of_kind('artifact')
    sizes = [path.stat().st_size for path in tmp_path.glob('two.ncnn.*')]
    assert len(sizes) == 3 and row['size_bytes'] == sum(sizes) and len(row['sha256']) == 3 * 64
    assert row['version'].startswith('ncnn 1.') and row['median_ms'] > 0 and row['box_ap'] >= 0
    # Nothing that needs torch is loaded, which alone takes more memory than this.
    assert row['peak_mib'] < 400


def test_a_backbone_in_ncnn_has_the_models_maps(tmp_path):
    exported = export_for_phone(
        'configs/mask_rcnn_fasternet_t0.py', tmp_path / 'backbone.ncnn.param', (64, 96), part='backbone'
    )
    assert exported.outputs == [(40, 16, 24), (80, 8, 12), (160, 4, 6), (320, 2, 3)]
    assert re.fullmatch(r'maps differ by at most .*e-0[5-9] of their largest value', exported.difference)
    content = json.loads(exported.paths[2].read_text())
    assert content['part'] == 'backbone' and 'decoding' not in content and content['input']['mean']
    with pytest.raises(UserError, match='holds no complete model'):
        open_maps_file(exported.paths[0])


def test_broken_files_of_ncnn_are_refused(detector, tmp_path):
    for path in detector.paths:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    layers, weights, _ = (tmp_path / path.name for path in detector.paths)
    layers.write_text(layers.read_text().replace('7767517', '1'))
    with pytest.raises(UserError, match='cannot be read by ncnn'):
        open_maps_file(layers)
    weights.unlink()
    with pytest.raises(UserError, match='detector.ncnn.bin does not exist'):
        open_maps_file(layers)


def test_a_network_that_computes_something_else_is_not_written(monkeypatch, tmp_path):
    from mmfasternet.deploy import to_ncnn

    converted = to_ncnn.to_ncnn
    monkeypatch.setattr(to_ncnn, 'to_ncnn', lambda network, image, path: converted(_Twice(network), image, path))
    with pytest.raises(UserError, match='maps that differ by'):
        export_for_phone('configs/mask_rcnn_fasternet_t0.py', tmp_path / 'a.ncnn.param', (64, 64), part='backbone')
    assert list(tmp_path.iterdir()) == []


class _Twice(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return tuple(2 * one for one in self.network(image))


def test_operators_that_ncnn_lacks_are_named(tmp_path):
    from mmfasternet.deploy.to_ncnn import to_ncnn

    class Sorted(torch.nn.Module):
        def forward(self, image):
            return (image.sort(dim=3)[0],)

    with pytest.raises(UserError, match='ncnn has no layer for .*sort'):
        to_ncnn(Sorted().eval(), torch.rand(1, 3, 8, 8), tmp_path / 'a.ncnn.param')


@needs_executorch
@pytest.mark.slow
@pytest.mark.parametrize('head', ['RetinaHead', 'RTMDetSepBNHead'])
def test_a_detector_in_executorch_is_the_models_own_predict(head, small, tmp_path):
    config, checkpoint = small(head)
    exported = export_for_phone(config, tmp_path / 'detector.pte', SHAPE, checkpoint=checkpoint)
    assert [one.name for one in exported.paths] == ['detector.pte', 'detector.pte.json']
    assert re.fullmatch(r'maps differ by at most .*e-0[5-9] of .* detections: boxes differ .*', exported.difference)
    found = open_detector('executorch', exported.paths[0], config, threads=1)(np.zeros((90, 80, 3), np.uint8))
    assert found.boxes.shape == (len(found.scores), 4)
    assert predict_with_file(exported.paths[0], ROOT / 'docs/demo_sheet.png', tmp_path / 'out')[0] == 1
    exported.paths[0].write_bytes(b'no program')
    with pytest.raises(UserError, match='detector.pte cannot be read by ExecuTorch'):
        open_maps_file(exported.paths[0])


@pytest.mark.parametrize(
    'missing, ending, words',
    [
        ('pnnx', 'ncnn.param', r'the export to ncnn needs ncnn and pnnx .*: pip install mmfasternet\[ncnn\]'),
        ('ncnn', 'ncnn.param', r'the export to ncnn needs ncnn and pnnx .*: pip install mmfasternet\[ncnn\]'),
        ('executorch', 'pte', r'the export to ExecuTorch needs executorch .*: pip install mmfasternet\[executorch\]'),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(missing, ending, words, monkeypatch, tmp_path):
    for name in list(sys.modules):
        if name.split('.')[0] == missing or name.endswith(('.to_ncnn', '.to_executorch')):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=words):
        export_for_phone('configs/mask_rcnn_fasternet_t0.py', tmp_path / f'a.{ending}', (64, 64), part='backbone')


@pytest.mark.parametrize(
    'missing, file, words',
    [
        ('ncnn', 'a.ncnn.param', 'need the package ncnn .*: pip install ncnn'),
        ('executorch', 'a.pte', r'need the package executorch .*: pip install mmfasternet\[executorch\]'),
    ],
)
def test_a_missing_runtime_is_named_with_what_installs_it(missing, file, words, monkeypatch, tmp_path):
    level = dict(stride=[8, 8], priors=[[0, 0]])
    decoding = dict(kind='distances', levels=[level], nms_pre=1, score_thr=0, min_bbox_size=-1, iou_threshold=0.5)
    content = dict(part='detector', task='detection', classes=['cat'], input=dict(resize=[]), shape=[32, 32])
    (tmp_path / file).touch()
    (tmp_path / f'{file}.json').write_text(json.dumps(content | dict(decoding=decoding | dict(max_per_img=1))))
    for name in list(sys.modules):
        if name.split('.')[0] == missing or name.endswith(f'.{missing}_network'):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=words):
        open_maps_file(tmp_path / file)


def test_models_whose_files_would_not_end_at_their_maps_are_refused(small, tmp_path):
    for head in ('RTMDetInsSepBNHead', 'FPNHead'):
        config, _ = small(head)
        with pytest.raises(UserError, match='a file for phones ends at the head'):
            export_for_phone(config, tmp_path / 'a.ncnn.param', SHAPE)
    config, _ = small('RetinaHead')
    for arguments, words in (
        (('a.onnx', SHAPE), r'must be named \*.ncnn.param or \*.pte'),
        (('a.param', SHAPE), r'must be named \*.ncnn.param or \*.pte'),
        (('a.ncnn.param', None), 'a file of ncnn is for images of one size'),
        (('a.ncnn.param', (100, 160)), 'must be multiples of 32'),
        (('a.ncnn.param', SHAPE, 'head'), 'part must be one of'),
    ):
        with pytest.raises(UserError, match=words):
            export_for_phone(config, tmp_path / arguments[0], *arguments[1:])
    assert list(tmp_path.iterdir()) == []


def test_the_tool_hands_on_its_options_and_says_what_was_written(monkeypatch, capsys, tmp_path):
    asked = []
    (tmp_path / 'b.pte').write_bytes(bytes(1_500_000))

    def export_for_phone(*arguments):
        asked.append(arguments)
        return SimpleNamespace(
            paths=[tmp_path / 'b.pte'], runtime='ExecuTorch', outputs=[(4, 2, 3)], difference='maps are equal'
        )

    monkeypatch.setattr(phones, 'export_for_phone', export_for_phone)
    # A console keeps the width that it was made with, maybe by an earlier test.
    monkeypatch.setattr(rich, '_console', None)
    monkeypatch.setenv('COLUMNS', '200')
    words = ['a.py', '--out', 'b.pte', '--shape', '64', '96', '--max-detections', '7', '--checkpoint', 'c.pth']
    monkeypatch.setattr(sys, 'argv', ['export.py', *words])
    runpy.run_path(str(ROOT / 'tools/export.py'), run_name='__main__')
    assert asked == [('a.py', 'b.pte', [64, 96], 'detector', 'c.pth', 7)]
    printed = capsys.readouterr().out
    for text in ('b.pte, 1.5 MB', 'output 0', '(4, 2, 3)', 'ExecuTorch against PyTorch', 'maps are equal'):
        assert text in printed
    monkeypatch.setattr(sys, 'argv', ['export.py', *words, '--precision', 'fp16', '--masks', 'small'])
    with pytest.raises(SystemExit, match=r'--precision and --masks is for \*.onnx'):
        runpy.run_path(str(ROOT / 'tools/export.py'), run_name='__main__')


def test_retinanet_of_the_config_has_its_anchors_in_the_json():
    """Nine at each place, of five levels."""
    graph = complete_graph(build_model(ROOT / 'configs/detection/retinanet_fasternet_s.py')[1])
    levels = graph.decoding['levels']
    assert [level['stride'] for level in levels] == [[2**n, 2**n] for n in range(3, 8)]
    assert all(np.shape(level['priors']) == (9, 4) for level in levels)
    assert graph.decoding['nms_pre'] == 1000 and graph.decoding['iou_threshold'] == 0.5
