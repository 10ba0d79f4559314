"""Exported files: the model's values in two runtimes, in stock operators, at sizes that the export never saw."""

import hashlib
import json
import os
import resource
import runpy
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import rich
import torch
from helpers.project import ROOT, run_tool, succeed

from mmfasternet.benchmark.measure.paths import randomize_norms
from mmfasternet.engine.build import build_model
from mmfasternet.engine.testing import newest_metrics
from mmfasternet.errors import UserError
from mmfasternet.files import write_file
from mmfasternet.version import __version__

if torch.__version__ < (2, 9):
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

import onnx
import onnxruntime
import skimage
from torch import Tensor, nn

from mmfasternet.benchmark.measure.openvino_core import openvino_core
from mmfasternet.deploy import export, optimize_for_inference
from mmfasternet.deploy.accuracy import Accuracy, Cost
from mmfasternet.deploy.export import Exported, export_onnx
from mmfasternet.deploy.heads import complete_graph
from mmfasternet.deploy.heads.rois import paste
from mmfasternet.deploy.phones import export_for_phone
from mmfasternet.deploy.verify import check_detections, check_maps, check_similar_detections, predict

CONFIG = ROOT / 'configs/mask_rcnn_fasternet_t0.py'
FEWER = 'model = dict(test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=300), rcnn=dict(max_per_img=60)))'
# Makes random heads decided: objects of several classes in any image, with scores whose order rounding does not change.
LOUDER = {'rpn_head.rpn_cls': 3, 'roi_head.bbox_head.fc_cls': 10, 'roi_head.mask_head.conv_logits': 10}


def write_config(path: Path, text: str, base: Path = CONFIG) -> Path:
    path.write_text(f'_base_ = {str(base)!r}\n{text}\n')
    return path


@pytest.fixture(scope='module')
def slim(slim, tmp_path_factory) -> Path:
    """The same with fewer boxes to choose from."""
    return write_config(tmp_path_factory.mktemp('config') / 'slim_export.py', FEWER, slim)


@pytest.fixture(scope='module')
def model(slim) -> nn.Module:
    torch.manual_seed(2)
    model = build_model(slim)[1].requires_grad_(False)
    randomize_norms(model)
    for name, factor in LOUDER.items():
        model.get_submodule(name).weight.mul_(factor)
    return model


@pytest.fixture(scope='module')
def checkpoint(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('checkpoint') / 'epoch_1.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


@pytest.fixture(scope='module')
def exported(slim, checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp('exported')
    return {part: export_onnx(slim, folder / f'{part}.onnx', part, str(checkpoint)) for part in export.PARTS}


def load(runtime: str, content: bytes) -> Callable[[Tensor], list[np.ndarray]]:
    """A function of an image that runs a file."""
    if runtime == 'onnxruntime':
        session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
        return lambda image: session.run(None, {'image': image.numpy()})
    core = openvino_core()
    # On some CPUs it would compute in bfloat16 otherwise.
    compiled = core.compile_model(core.read_model(content), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    return lambda image: list(compiled(image.numpy()).values())


@pytest.fixture(scope='module', params=['onnxruntime', 'openvino'])
def runtime(request) -> str:
    return request.param


@pytest.fixture(scope='module')
def run(runtime, exported) -> dict:
    return {part: load(runtime, file.path.read_bytes()) for part, file in exported.items()}


@pytest.mark.parametrize('size', [(1, 3, 32, 32), (3, 3, 67, 93), (2, 3, 224, 160)])
@torch.no_grad()
def test_maps(run, model, size):
    image = torch.randn(size)
    maps = model.backbone(image)
    check_maps(run['backbone'](image), [out.numpy() for out in maps])
    check_maps(run['neck'](image), [out.numpy() for out in model.neck(maps)])


@pytest.mark.parametrize(
    'name, size', [('astronaut', (512, 512)), ('coffee', (201, 333)), ('chelsea', (300, 451)), ('chelsea', (33, 120))]
)
def test_detections_are_those_of_mmdet(run, model, name, size):
    photo = skimage.transform.resize(getattr(skimage.data, name)(), size, preserve_range=True)
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    expected, found = predict(model, image), run['detector'](image)
    check_detections(found, expected)
    boxes, scores, labels, masks = found
    assert len(boxes) == 60 and len(set(labels)) > 3 and masks.any(axis=(1, 2)).mean() > 0.9
    assert labels.dtype == np.int64 and masks.dtype == bool and masks.shape[1:] == size
    assert (np.diff(scores) <= 0).all()


def test_the_optimized_detector_finds_the_same(model):
    photo = torch.from_numpy(skimage.data.coffee()[:201, :333].copy()).permute(2, 0, 1)[None].float()
    expected = predict(model, photo)
    assert len(expected[0]) == 60
    check_detections(predict(optimize_for_inference(model), photo), expected)


def test_nothing_found(runtime, exported):
    """Where the box head is sure of the background, everything is empty and has its shape."""
    graph = onnx.load(exported['detector'].path)
    (bias,) = (tensor for tensor in graph.graph.initializer if tensor.name.endswith('bbox_head.fc_cls.bias'))
    values = onnx.numpy_helper.to_array(bias).copy()
    values[-1] = 1000
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    found = load(runtime, graph.SerializeToString())(torch.zeros(1, 3, 64, 70))
    assert [array.shape for array in found] == [(0, 4), (0,), (0,), (0, 64, 70)]


def test_files_are_whole_and_of_stock_operators(exported):
    for part, file in exported.items():
        graph = onnx.load(file.path, load_external_data=False)
        assert [(opset.domain, opset.version) for opset in graph.opset_import] == [('', export.OPSET)]
        assert not graph.functions and {node.domain for node in graph.graph.node} == {''}
        assert all(not tensor.external_data for tensor in graph.graph.initializer)
        assert [path.name for path in file.path.parent.glob(f'*{part}*')] == [f'{part}.onnx']
        # Nothing of the machine that it was made on.
        assert str(ROOT).encode() not in file.path.read_bytes() and os.sep + 'site-packages' not in str(
            graph.graph.node
        )
    assert exported['detector'].inputs == dict(image='float32 (1, 3, height, width)')
    assert exported['detector'].outputs == dict(
        boxes='float32 (detections, 4)',
        scores='float32 (detections)',
        labels='int64 (detections)',
        masks='bool (detections, height, width)',
    )
    assert exported['detector'].operators['NonMaxSuppression'] == 2
    assert exported['detector'].difference.startswith('60 detections')


def test_metadata(exported, checkpoint, slim):
    """What each file says about itself."""
    shared = dict(
        mmfasternet=__version__,
        config=slim.name,
        precision='fp32',
        checkpoint_sha256=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    )
    resize = [dict(type='Resize', scale=[1333, 800], keep_ratio=True)]
    for part, file in exported.items():
        found = onnxruntime.InferenceSession(file.path).get_modelmeta().custom_metadata_map
        classes, meaning = json.loads(found.pop('classes')), json.loads(found.pop('input'))
        complete = dict(task='detection', score_thr='0.05') if part == 'detector' else {}
        palette = json.loads(found.pop('palette', 'null'))
        assert found == dict(shared, part=part, **complete)
        assert len(classes) == 80 and classes[:2] == ['person', 'bicycle']
        assert palette is None or len(palette) == 80 and palette[0] == [220, 20, 60]
        assert meaning.get('pad') == (None if part != 'detector' else pytest.approx([123.675, 116.28, 103.53]))
        mean, std = (None, None) if part == 'detector' else ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
        assert (meaning['colors'], meaning['range'], meaning['resize']) == ('RGB', [0, 255], resize)
        assert meaning['mean'] == (mean and pytest.approx(mean)) and meaning['std'] == (std and pytest.approx(std))


def test_example_without_torch(exported, tmp_path):
    photo, drawn = tmp_path / 'cat.png', tmp_path / 'drawn.png'
    skimage.io.imsave(photo, skimage.data.chelsea()[:200, :300])
    command = ['detect_onnx.py', str(exported['detector'].path), str(photo), str(drawn)]
    without = (
        "import runpy, sys; sys.modules['torch'] = None; sys.argv = {!r}; runpy.run_path({!r}, run_name='__main__')"
    )
    script = str(ROOT / 'docs/examples/detect_onnx.py')
    done = succeed(sys.executable, '-c', without.format(command, script))
    *found, last = done.stdout.splitlines()
    assert last == f'{len(found)} objects drawn in {drawn}' and len(found) > 5
    assert skimage.io.imread(drawn).shape == (200, 300, 3)


@pytest.mark.slow
def test_example_of_the_optimized_ap(tiny_config, tmp_path):
    """That of the model as it is, to the digit that is printed."""
    torch.manual_seed(0)
    model = build_model(tiny_config)[1]
    randomize_norms(model)
    # Decided heads, so that something is found.
    for name, factor in LOUDER.items():
        model.get_submodule(name).weight.data.mul_(factor)
    checkpoint = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    done = succeed(ROOT / 'docs/examples/ap_optimized.py', tiny_config, checkpoint)
    optimized = dict(line.split() for line in done.stdout.splitlines() if line.startswith('coco/'))
    done = succeed(ROOT / 'tools/test.py', tiny_config, checkpoint)
    expected = json.loads(newest_metrics(tmp_path / 'work').read_text())
    assert {'coco/bbox_mAP', 'coco/segm_mAP'} <= set(optimized)
    for name, value in optimized.items():
        assert abs(float(value) - expected[name]) <= 0.001


def test_example_of_ap(exported, tiny_config):
    done = succeed(ROOT / 'docs/examples/ap_onnx.py', tiny_config, exported['detector'].path)
    metrics = dict(line.split() for line in done.stdout.splitlines() if line.startswith('coco/'))
    assert 0 <= float(metrics['coco/bbox_mAP']) < 0.1 and 0 <= float(metrics['coco/segm_mAP']) < 0.1


# fp16 -----------------------------------------------------------------------------------------------------------------


def check_half(path: Path) -> onnx.ModelProto:
    """Weights and what multiplies with them are float16; inputs, outputs and what decides on boxes are float32."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True)
    onnx.checker.check_model(graph, full_check=True)
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [('', export.OPSET)]
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    types = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    types |= {value.name: value.type.tensor_type.elem_type for value in graph.graph.value_info}
    types |= {value.name: value.type.tensor_type.elem_type for value in [*graph.graph.input, *graph.graph.output]}
    for node in graph.graph.node:
        found = {types[name] for name in node.input if name} & {half, single}
        if node.op_type in ('Conv', 'ConvTranspose', 'Gemm', 'BatchNormalization', 'Resize', 'MaxPool'):
            assert found == {half} or node.op_type == 'Resize' and half in found, node.name
        elif node.op_type in ('NonMaxSuppression', 'RoiAlign', 'TopK', 'Exp', 'Softmax', 'Sqrt', 'MatMul', 'Pad'):
            assert found == {single}, node.name
    assert types['image'] == single and half not in {types[value.name] for value in graph.graph.output}
    return graph


@pytest.mark.parametrize('part', ['backbone', 'neck'])
@torch.no_grad()
def test_fp16_maps(slim, checkpoint, model, exported, part, tmp_path):
    file = export_onnx(slim, tmp_path / 'half.onnx', part, str(checkpoint), precision='fp16')
    check_half(file.path)
    assert file.inputs == exported[part].inputs and file.outputs == exported[part].outputs
    assert file.path.stat().st_size < 0.55 * exported[part].path.stat().st_size
    image = torch.randn(2, 3, 67, 93)
    expected = model.backbone(image)
    expected = [out.numpy() for out in (expected if part == 'backbone' else model.neck(expected))]
    for runtime in ('onnxruntime', 'openvino'):
        for ours, exact in zip(load(runtime, file.path.read_bytes())(image), expected, strict=True):
            assert 1e-5 < abs(ours - exact).max() / abs(exact).max() < 5e-3


# Of one size, since the export takes half as long.
SHAPE = (192, 320)


@pytest.mark.slow
def test_fp16_detector(slim, checkpoint, model, tmp_path):
    file = export_onnx(slim, tmp_path / 'half.onnx', 'detector', str(checkpoint), precision='fp16', shape=SHAPE)
    graph = check_half(file.path)
    assert {'NonMaxSuppression', 'RoiAlign', 'Gemm', 'ConvTranspose'} <= {node.op_type for node in graph.graph.node}
    assert file.inputs == dict(image='float32 (1, 3, 192, 320)')
    assert file.outputs['scores'] == 'float32 (detections)' and file.outputs['masks'] == 'bool (detections, 192, 320)'
    assert 'of 60 detections are the same' in file.difference
    photo = torch.from_numpy(skimage.data.chelsea()[:192, :320].copy()).permute(2, 0, 1)[None].float()
    check_similar_detections(load('onnxruntime', file.path.read_bytes())(photo), predict(model, photo))


def test_a_model_beyond_the_range_of_fp16_is_refused(slim, monkeypatch, tmp_path):
    def loud(config):
        cfg, model = build_model(config)
        model.backbone.norm0.weight.data.fill_(1e5)
        return cfg, model

    monkeypatch.setattr(export, 'build_model', loud)
    with pytest.raises(UserError, match=r'fp16 ends at 65504, and a layer of this model gives \d{6}'):
        export_onnx(slim, tmp_path / 'half.onnx', 'backbone', precision='fp16')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda found: found[0].__iadd__(3), '8 of 10 detections'),
        (lambda found: found[1].__iadd__(0.03), '8 of 10 detections'),
        (lambda found: found[2].__iadd__(1), '8 of 10 detections'),
        (lambda found: found[3].__setitem__((slice(None), slice(0, 5)), False), '8 of 10 detections'),
    ],
)
def test_similar_detections(change, message):
    """One of ten may differ, but not two."""
    corners = np.arange(10, dtype=np.float32)[:, None] * 20
    expected = [np.hstack([corners, corners, corners + 9, corners + 9]), np.full(10, 0.9, np.float32)]
    expected += [np.arange(10), np.ones((10, 8, 8), bool)]
    for count, passes in ((1, True), (2, False)):
        found = [array[::-1].copy() for array in expected]
        changed = [array[:count] for array in found]
        change(changed)
        if passes:
            assert check_similar_detections(found, expected).startswith('9 of 10 detections are the same')
        else:
            with pytest.raises(UserError, match=message):
                check_similar_detections(found, expected)
    with pytest.raises(UserError, match='0 of 10 detections'):
        check_similar_detections([array[:0] for array in expected], expected)
    assert check_similar_detections(*[[array[:0] for array in expected]] * 2).startswith('no detections')


# int8 -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('images')
    for name in ('astronaut', 'chelsea', 'coffee', 'rocket'):
        skimage.io.imsave(folder / f'{name}.png', getattr(skimage.data, name)()[:300, :400])
    return folder


@torch.no_grad()
def test_int8_backbone(slim, checkpoint, model, exported, images, tmp_path):
    """About the feature maps of float32 on any CPU, in a file of less than half the size.

    A CPU without VNNI adds two products in 16 bits, where those of 8-bit weights saturate: the maps were 28 % off.
    """
    file = export_onnx(slim, tmp_path / 'int8.onnx', 'backbone', str(checkpoint), int8=images)
    size = file.path.stat().st_size
    assert file.operators['QuantizeLinear'] > 20 and size < 0.5 * exported['backbone'].path.stat().st_size
    initializers = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(file.path).graph.initializer]
    weights = [array for array in initializers if array.dtype == np.int8 and array.ndim == 4]
    # Two products with values of 8 bits fit in 16 bits with a sign.
    assert len(weights) > 15 and all(2 * 255 * abs(array.astype(int)).max() < 2**15 for array in weights)
    assert_nearly_the_same(file.path.read_bytes(), model, ['onnxruntime', 'openvino'])


def assert_nearly_the_same(content: bytes, model: nn.Module, runtimes: Sequence[str]) -> None:
    """An int8 backbone gives other feature maps than in float32, but not by more than 10 %, in some runtimes."""
    photo = torch.from_numpy(skimage.data.coffee()[:160, :224].copy()).permute(2, 0, 1).flip(0)
    image = model.data_preprocessor(dict(inputs=[photo]))['inputs']
    expected = [out.numpy() for out in model.backbone(image)]
    for runtime in runtimes:
        for ours, exact in zip(load(runtime, content)(image), expected, strict=True):
            assert 1e-4 < abs(ours - exact).mean() / abs(exact).mean() < 0.1


@torch.no_grad()
def test_symmetric_int8_is_what_tensorrt_takes(slim, checkpoint, model, images, tmp_path):
    """Signed, with zero points of 0, and no 32-bit integers dequantized."""
    file = export_onnx(slim, tmp_path / 'int8.onnx', 'backbone', str(checkpoint), int8=images, symmetric=True)
    graph = onnx.load(file.path).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type in ('QuantizeLinear', 'DequantizeLinear')]
    zero_points = [values[node.input[2]] for node in nodes]
    assert len(nodes) > 20 and all(zero.dtype == np.int8 and not zero.any() for zero in zero_points)
    quantized = {name for node in nodes for name in node.output}
    for node in graph.node:
        if node.op_type == 'Conv':
            assert quantized.issuperset(node.input[:2])
            assert all(values[bias].dtype == np.float32 for bias in node.input[2:])
    assert all(abs(values[node.input[0]].astype(int)).max() <= 64 for node in nodes if node.input[0] in values)
    # OpenVINO's products saturate on CPUs without VNNI where feature maps are signed.
    assert_nearly_the_same(file.path.read_bytes(), model, ['onnxruntime'])


@pytest.mark.slow
def test_int8_detector(slim, checkpoint, images, tmp_path):
    calibration = images / 'coffee.png'
    file = export_onnx(slim, tmp_path / 'int8.onnx', 'detector', str(checkpoint), int8=calibration, shape=SHAPE)
    graph = onnx.load(file.path)
    onnx.checker.check_model(graph, full_check=True)
    assert 'classes' in {entry.key for entry in graph.metadata_props}
    photo = torch.from_numpy(skimage.data.coffee()[:192, :320].copy()).permute(2, 0, 1)[None].float()
    boxes, scores, labels, masks = load('onnxruntime', file.path.read_bytes())(photo)
    assert len(boxes) == 60 and labels.dtype == np.int64 and masks.shape == (60, *SHAPE) and masks.any()


def test_int8_needs_images(slim, monkeypatch, tmp_path):
    """Which is said before the export takes its time."""
    monkeypatch.setattr(export, 'to_onnx', None)
    with pytest.raises(UserError, match='no image in'):
        export_onnx(slim, tmp_path / 'int8.onnx', 'backbone', int8=tmp_path)
    assert not list(tmp_path.iterdir())


def test_tool(monkeypatch, capsys, tmp_path):
    """It hands on its arguments, and prints what was written."""
    (tmp_path / 'b.onnx').write_bytes(bytes(1_500_000))
    shapes = dict(image='float32 (batch, 3, height, width)'), dict(map0='float32 (batch, 40, 8, 8)')
    aps = (dict(box_ap=box, mask_ap=mask) for box, mask in ((50, None), (48.5, None), (49.75, None)))
    accuracy = Accuracy(*aps, [Cost('backbone.a', 21.04), Cost('neck.b', 30.0)], 1)
    words = 'maps differ by at most 1.0e-06'
    written = Exported(tmp_path / 'b.onnx', *shapes, dict(Conv=43, Add=2), words, accuracy)
    asked = []
    monkeypatch.setattr(export, 'export_onnx', lambda *arguments: asked.append(arguments) or written)
    options = ['--shape', '320', '640', '--batch', 'dynamic', '--max-detections', '7', '--masks', 'small']
    options += ['--int8', 'c', '--symmetric', '--max-drop', '0.5']
    arguments = ['a.py', '--part', 'backbone', '--out', 'b.onnx', *options]
    monkeypatch.setattr(sys, 'argv', ['export.py', *arguments])
    # A console keeps the width that it was made with, maybe by an earlier test.
    monkeypatch.setattr(rich, '_console', None)
    monkeypatch.setenv('COLUMNS', '200')
    runpy.run_path(str(ROOT / 'tools/export.py'), run_name='__main__')
    form = [320, 640], 'dynamic', 7, 'small'
    assert asked == [('a.py', 'b.onnx', 'backbone', None, 'c', 'fp32', True, *form, 0.5)]
    printed = capsys.readouterr().out
    for words in (
        '1.5 MB',
        str(export.OPSET),
        *(f'{name}: {shape}' for part in shapes for name, shape in part.items()),
    ):
        assert words in printed
    assert 'Add 2, Conv 43' in printed and 'maps differ by at most 1.0e-06, before int8' in printed
    assert '50.00 in float32, 48.50 all in int8, 49.75 as written' in printed and 'mask AP' not in printed
    rows = [[cell.strip() for cell in line.split('│')[1:-1]] for line in printed.splitlines()]
    assert ['layers in float32', '1 of 2'] in rows
    assert rows.index(['backbone.a', '21.0', 'float32']) + 1 == rows.index(['neck.b', '30.0', 'int8'])


def test_a_mistake_of_the_tool_is_one_message(tmp_path):
    done = run_tool(ROOT / 'tools/export.py', CONFIG, '--out', tmp_path / 'detector.pt')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert done.stderr.splitlines()[-1].startswith('error: the file must be named *.onnx, *.ncnn.param or *.pte')


def test_a_file_that_is_not_the_model_is_not_written(slim, exported, monkeypatch, tmp_path):
    monkeypatch.setattr(export, 'to_onnx', lambda *arguments: onnx.load(exported['backbone'].path))
    with pytest.raises(
        UserError, match=r'the exported graph is not the model.* maps that differ by .* nothing is writ'
    ):
        export_onnx(slim, tmp_path / 'backbone.onnx', 'backbone')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('part', export.PARTS)
def test_swin_is_refused_for_images_of_any_size(part, tmp_path):
    swin = ROOT / 'configs/baselines/mask_rcnn_swin_tiny.py'
    message = 'backbone is a SwinTransformer, for images of any size .* windows depends on the size; fix .* --shape'
    with pytest.raises(UserError, match=message):
        export_onnx(swin, tmp_path / 'a.onnx', part)
    assert not list(tmp_path.iterdir())


def test_where_no_file_can_be_is_said_before_the_export(tmp_path, monkeypatch):
    monkeypatch.setattr(export, 'build_model', None)
    (tmp_path / 'file').write_text('kept')
    for ending in ('onnx', 'pte'):
        (tmp_path / f'folder.{ending}').mkdir()
    for out, message in (
        (tmp_path / 'file/new/a.onnx', f'cannot write .*/a.onnx, since {tmp_path}/file is no folder'),
        (tmp_path / 'folder.onnx', 'cannot write .*/folder.onnx, which is a folder'),
    ):
        with pytest.raises(UserError, match=message):
            export_onnx(CONFIG, out)
        with pytest.raises(UserError, match=message.replace('onnx', 'pte')):
            export_for_phone(CONFIG, out.with_suffix('.pte'), (64, 64))
    assert (tmp_path / 'file').read_text() == 'kept' and not any((tmp_path / 'folder.onnx').iterdir())


@pytest.mark.parametrize('earlier', [b'an earlier file', None])
def test_a_full_disk_leaves_no_half_file(earlier, tmp_path, monkeypatch):
    """The system takes the first 4 kB alone; what was there stays."""
    monkeypatch.setattr(export, '_compare', lambda *arguments: 'nothing')
    out, limits = tmp_path / 'a.onnx', resource.getrlimit(resource.RLIMIT_FSIZE)
    if earlier:
        out.write_bytes(earlier)

    def write(path, content):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            return write_file(path, content)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(export, 'write_file', write)
    with pytest.raises(UserError, match=r'cannot write .*a\.onnx \(File too large\)'):
        export_onnx(CONFIG, out, 'backbone')
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == ([('a.onnx', earlier)] if earlier else [])


def test_a_checkpoint_of_other_classes_is_one_message(slim, checkpoint, tmp_path):
    text = 'model = dict(roi_head=dict(bbox_head=dict(num_classes=7), mask_head=dict(num_classes=7)))'
    other = write_config(tmp_path / 'other.py', text, slim)
    with pytest.raises(UserError, match=r'does not fit this MaskRCNN.*fc_cls') as refused:
        export_onnx(other, tmp_path / 'a.onnx', checkpoint=str(checkpoint))
    assert 'fc_cls.bias (7,) instead of (8,)' in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ['other.py']


def test_an_unreadable_calibration_image_is_one_message(images, slim, tmp_path, monkeypatch):
    """Before the export takes its time, and with the name of the image."""
    monkeypatch.setattr(export, 'to_onnx', None)
    folder = shutil.copytree(images, tmp_path / 'images')
    (folder / 'bad.png').write_bytes((folder / 'coffee.png').read_bytes()[:5000])
    with pytest.raises(UserError, match='images/bad.png'):
        export_onnx(slim, tmp_path / 'int8.onnx', 'backbone', int8=folder)
    with pytest.raises(UserError, match='none'):
        export_onnx(slim, tmp_path / 'int8.onnx', 'backbone', int8=tmp_path / 'none')
    assert [path.name for path in tmp_path.iterdir()] == ['images']


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda found: found[0].__iadd__(0.02), 'boxes that differ by 2.0e-02 pixels'),
        (lambda found: found[1].__iadd__(0.01), r'scores that differ by 1\.0e-02'),
        (lambda found: found[2].__iadd__(1), 'other detections'),
        (lambda found: found[3].__setitem__((0, slice(0, 4)), True), 'a mask that differs in 32 pixels'),
    ],
)
def test_other_detections_are_seen(change, message):
    boxes = np.array([[0, 0, 5, 5], [2, 3, 7, 7]], np.float32)
    expected = [boxes, np.array([0.9, 0.8]), np.array([1, 2]), np.zeros((2, 8, 8), bool)]
    found = [array[::-1].copy() for array in expected]
    assert check_detections(found, expected).startswith('2 detections: boxes differ by at most 0.0e+00')
    change(found)
    with pytest.raises(UserError, match=message):
        check_detections(found, expected)
    with pytest.raises(UserError, match='1 detections, not 2'):
        check_detections([array[:1] for array in found], expected)


@pytest.mark.parametrize(
    'text, message',
    [
        ("model = dict(type='PointRend')", 'this PointRend cannot .* it is not a MaskRCNN; supported .*--part neck'),
        ("model = dict(rpn_head=dict(type='GARPNHead'))", 'cannot be built'),
        ("model = dict(roi_head=dict(type='DoubleHeadRoIHead', reg_roi_scale_factor=1.3))", 'its roi_head is a Double'),
        ("model = dict(test_cfg=dict(rcnn=dict(nms=dict(type='soft_nms'))))", r'it has test_cfg.rcnn.nms=.*soft_nms'),
        ('model = dict(test_cfg=dict(rpn=dict(nms_pre=0)))', 'it has test_cfg.rpn.nms_pre=0, not a limit'),
        ('model = dict(test_cfg=dict(rcnn=dict(mask_thr_binary=-1)))', 'masks of gray levels'),
        ("model = dict(roi_head=dict(bbox_roi_extractor=dict(roi_layer=dict(pool_mode='max'))))", 'not RoIAlign that'),
    ],
)
def test_other_detectors_are_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        export_onnx(write_config(tmp_path / 'other.py', text), tmp_path / 'detector.onnx')


def normalized_by(model: nn.Module, image: Tensor) -> Tensor:
    """What a graph gives its backbone."""
    graph = complete_graph(model)
    model.backbone, model.neck = nn.Identity(), nn.Identity()
    return graph.features(image)


def test_preprocessors(model, tmp_path):
    """Without a conversion the model sees blue, green, red, and without a mean the pixels as they are."""
    image = 255 * torch.rand(1, 3, 33, 47)
    for text, of in (
        ('bgr_to_rgb=False, pad_value=2, pad_size_divisor=8', lambda x, p: (x.flip(1) - p.mean) / p.std),
        ('mean=None, std=None, pad_size_divisor=1', lambda x, p: x),
    ):
        path = write_config(tmp_path / 'other.py', f'model = dict(data_preprocessor=dict({text}))')
        other = build_model(path)[1]
        normalized = normalized_by(other, image)
        bgr = [image[0].flip(0)]
        assert torch.equal(normalized, other.data_preprocessor(dict(inputs=bgr))['inputs'])
        assert torch.equal(normalized[:, :, :33, :47], of(image, other.data_preprocessor))


def test_a_box_without_width_has_an_empty_mask():
    boxes = torch.tensor([[8.0, 0.0, 8.0, 6.0], [2.0, 0.0, 6.0, 6.0]])
    empty, full = paste(torch.ones(2, 4, 4), boxes, (6, 8)) >= 0.5
    assert not empty.any() and full.sum() == 24


def test_wrong_use(checkpoint, tmp_path, monkeypatch):
    other = ROOT / 'configs/mask_rcnn_fasternet_t1.py'
    neckless = write_config(tmp_path / 'neckless.py', "model = dict(type='MaskRCNN', neck=None)")
    for options, message in (
        (dict(precision='int4'), "precision must be one of fp32, fp16, but got 'int4'"),
        (dict(precision='fp16', int8='images'), 'exported in fp16 or in int8, not in both'),
        (dict(symmetric=True), '--symmetric says how --int8 quantizes'),
    ):
        with pytest.raises(UserError, match=message):
            export_onnx(CONFIG, 'a.onnx', **options)
    for arguments, message in (
        ((CONFIG, 'a.onnx', 'head'), "part must be one of backbone, neck, detector, but got 'head'"),
        ((other, 'a.onnx', 'backbone', str(checkpoint)), 'does not fit this MaskRCNN'),
        ((tmp_path / 'none.py', 'a.onnx'), 'does not exist'),
        ((neckless, 'a.onnx', 'neck'), 'has no neck'),
    ):
        with pytest.raises(UserError, match=message):
            export_onnx(*arguments)
    monkeypatch.setattr(torch, '__version__', torch.torch_version.TorchVersion('2.6.0'))
    with pytest.raises(UserError, match='is too old .* default package set'):
        export_onnx(CONFIG, 'a.onnx', 'backbone')
