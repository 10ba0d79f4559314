"""Complete models of every head: what the model's own predict finds, in PyTorch and in a file, at any size."""

import numpy as np
import pytest
import torch
from helpers.complete_models import MODELS, build_small, write_dino, write_small
from helpers.project import ROOT

if torch.__version__ < (2, 9):
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

import onnx
import onnxruntime
import skimage
from torch import Tensor, nn

from mmfasternet.deploy.export import OPSET, export_onnx
from mmfasternet.deploy.heads import complete_graph
from mmfasternet.deploy.heads.segmentor import _Averages
from mmfasternet.deploy.heads.table import HEADS
from mmfasternet.deploy.verify import check_classes, check_detections, check_ranking, predict
from mmfasternet.engine.build import build_model
from mmfasternet.errors import UserError

SIZES = [(64, 97), (150, 130)]
# RTMDet's config pads images with this grey, before the model.
GREY = dict(size_divisor=32, pad_val=dict(img=(114, 114, 114)))
# Of a config that does not pad.
PIPELINE = "[dict(type='LoadImageFromFile'), dict(type='mmdet.PackDetInputs')]"
BOXES = dict(boxes='float32 (detections, 4)', scores='float32 (detections)', labels='int64 (detections)')
MASKS = dict(masks='bool (detections, height, width)')


def photo(size: tuple[int, int]) -> Tensor:
    pixels = skimage.transform.resize(skimage.data.chelsea(), size, preserve_range=True)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()


def padding(head: str) -> dict | None:
    return GREY if head.startswith('RTMDet') else None


@pytest.mark.parametrize('head', MODELS)
@torch.no_grad()
def test_a_graph_is_the_models_own_predict(head, tmp_path):
    """Where there is something to find: objects of several classes, most of them not the complete image."""
    graph = complete_graph(build_small(write_small(head, tmp_path / 'small.py')), padding(head))
    for height, width in SIZES:
        image = photo((height, width))
        found = [output.numpy() for output in graph(image)]
        graph.check(found, graph.predict(image), 'fp32')
        outputs = dict(zip(graph.outputs, found, strict=True))
        assert len(np.unique(outputs.get('classes', outputs.get('labels')))) > 2
        if 'boxes' in outputs:
            boxes = outputs['boxes']
            assert len(boxes) > 30 and (np.diff(outputs['scores']) <= 0).all()
            assert (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
            assert ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) < 0.8 * height * width).mean() > 0.5
        if 'masks' in outputs:
            share = outputs['masks'].mean(axis=(1, 2))
            assert ((share > 0) & (share < 1)).mean() > 0.25


@pytest.mark.parametrize(
    'head, outputs',
    [
        ('FasterNetClsHead', dict(labels='int64 (5)', scores='float32 (5)')),
        pytest.param('FPNHead', dict(classes='int64 (height, width)'), marks=pytest.mark.slow),
        pytest.param('UPerHead', dict(classes='int64 (height, width)'), marks=pytest.mark.slow),
        # RetinaHead and CascadeRoIHead are compared with image_demo in tests/predictions/test_same_as_image_demo.py,
        # RTMDetSepBNHead below. Those of `make test-exports` have most in common with another one.
        pytest.param('FCOSHead', BOXES, marks=pytest.mark.slow),
        pytest.param('ATSSHead', BOXES, marks=pytest.mark.exports),
        pytest.param('RTMDetInsSepBNHead', BOXES | MASKS, marks=pytest.mark.slow),
        pytest.param('StandardRoIHead', BOXES, marks=pytest.mark.slow),
    ],
)
def test_a_file_is_the_models_own_predict(head, outputs, tmp_path):
    config, checkpoint = write_small(head, tmp_path / 'small.py'), tmp_path / 'epoch_1.pth'
    model = build_small(config)
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    file = export_onnx(config, tmp_path / 'complete.onnx', checkpoint=str(checkpoint))
    assert file.outputs == outputs and file.inputs == dict(image='float32 (1, 3, height, width)')
    written = onnx.load(file.path)
    assert [(opset.domain, opset.version) for opset in written.opset_import] == [('', OPSET)]
    assert not written.functions and {node.domain for node in written.graph.node} == {''}
    session = onnxruntime.InferenceSession(file.path, providers=['CPUExecutionProvider'])
    graph = complete_graph(model, padding(head))
    # The smallest image too, whose last levels have a single place.
    for size in (*SIZES, (32, 32)):
        graph.check(session.run(None, {'image': photo(size).numpy()}), graph.predict(photo(size)), 'fp32')


@pytest.mark.slow
@pytest.mark.parametrize('head', ['RetinaHead', 'RTMDetInsSepBNHead', 'FPNHead'])
def test_half_and_int8(head, tmp_path):
    """fp16 is compared by the export itself; int8 keeps the names, and finds something."""
    config, checkpoint = write_small(head, tmp_path / 'small.py'), tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=build_small(config).state_dict()), checkpoint)
    # Of one size, since the export takes a third of the time.
    options = dict(checkpoint=str(checkpoint), shape=(64, 96))
    half = export_onnx(config, tmp_path / 'half.onnx', precision='fp16', **options)
    assert half.operators['Cast'] >= 2  # before the learned parts, and behind them
    skimage.io.imsave(tmp_path / 'cat.png', skimage.data.chelsea()[:100, :140])
    int8 = export_onnx(config, tmp_path / 'int8.onnx', int8=tmp_path / 'cat.png', **options)
    assert int8.operators['QuantizeLinear'] > 10 and int8.outputs == half.outputs
    session = onnxruntime.InferenceSession(int8.path, providers=['CPUExecutionProvider'])
    assert session.get_modelmeta().custom_metadata_map['precision'] == 'int8'
    assert all(len(found) for found in session.run(None, {'image': photo((64, 96)).numpy()}))


def test_padding_of_a_pipeline_has_its_colour():
    """Blue, green, red in a config, as it loads images."""
    model = build_model(ROOT / 'configs/demo/retinanet_fasternet_t0_shapes.py')[1]
    graph = complete_graph(model, dict(size_divisor=16, pad_val=dict(img=(1, 2, 3))))
    padded = graph._padded(torch.full((1, 3, 10, 20), 9.0))
    assert padded.shape == (1, 3, 16, 32) and (padded[:, :, :10, :20] == 9).all()
    assert (padded[0, :, 10:] == torch.tensor([3.0, 2.0, 1.0])[:, None, None]).all()


@torch.no_grad()
def test_a_neck_that_needs_multiples_of_32_gets_them(tmp_path):
    """Where neither the config's pipeline nor the preprocessor pads: as the preprocessor would, if it were told to."""
    model = build_small(write_small('RTMDetSepBNHead', tmp_path / 'small.py'))
    graph = complete_graph(model)
    assert graph.pad == dict(size_divisor=32, pad_val=dict(img=pytest.approx((103.53, 116.28, 123.675))))
    with pytest.raises(RuntimeError, match='Sizes of tensors must match'):
        predict(model, photo((48, 97)))
    model.data_preprocessor.pad_size_divisor = 32
    for size in ((48, 97), *SIZES):
        found = [output.numpy() for output in graph(photo(size))]
        check_detections(found, predict(model, photo(size)))
        assert len(found[0]) > 100
    assert complete_graph(model).pad is None
    # An FPN takes any size.
    assert complete_graph(build_small(write_small('RetinaHead', tmp_path / 'retina.py'))).pad is None


@pytest.mark.slow
def test_a_file_of_such_a_model_takes_any_size(tmp_path):
    config, checkpoint = write_small('RTMDetSepBNHead', tmp_path / 'small.py'), tmp_path / 'epoch_1.pth'
    config.write_text(f'{config.read_text()}test_dataloader = dict(dataset=dict(pipeline={PIPELINE}))\n')
    model = build_small(config)
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    file = export_onnx(config, tmp_path / 'any.onnx', checkpoint=str(checkpoint), batch='dynamic')
    session = onnxruntime.InferenceSession(file.path, providers=['CPUExecutionProvider'])
    graph = complete_graph(model, batched=True)
    for size in ((48, 97), *SIZES):
        images = torch.cat([photo(size), photo(size).flip(3)])
        found = graph.of_each(session.run(None, {'image': images.numpy()}), 2)
        # It fails where they differ. Small images have fewer than the 300 that are kept.
        said = [graph.check(one, graph.predict(images[i : i + 1]), 'fp32') for i, one in enumerate(found)]
        assert min(int(words.split()[0]) for words in said) > 100


@pytest.mark.parametrize('shape', [(1, 1), (2, 5), (7, 12), (25, 42)])
@pytest.mark.parametrize('cells', [1, 2, 3, 6])
def test_averages_are_those_of_torch(shape, cells):
    maps = torch.rand(1, 2, *shape)
    torch.testing.assert_close(_Averages(cells)(maps), nn.AdaptiveAvgPool2d(cells)(maps))


@pytest.mark.parametrize(
    'head, settings, message',
    [
        ('RetinaHead', 'test_cfg=dict(nms_pre=0)', 'it has test_cfg.nms_pre=0, not a limit'),
        ('RetinaHead', "test_cfg=dict(nms=dict(type='soft_nms'))", 'it has test_cfg.nms='),
        ('RetinaHead', "type='FSAF', bbox_head=dict(type='FSAFHead')", 'its bbox_head is a FSAFHead'),
        ('FPNHead', "test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32))", "it has test_cfg.mode='slide'"),
    ],
)
def test_what_the_steps_do_not_support_is_refused(head, settings, message, tmp_path):
    """In one message, which names what is supported."""
    config = write_small(head, tmp_path / 'base.py')
    changed = tmp_path / 'changed.py'
    changed.write_text(f'_base_ = {str(config)!r}\nmodel = dict({settings})\n')
    with pytest.raises(UserError, match=message) as refused:
        export_onnx(changed, tmp_path / 'a.onnx')
    assert all(head in str(refused.value) for head in HEADS) and '--part neck' in str(refused.value)
    assert not (tmp_path / 'a.onnx').exists()


@pytest.mark.slow
def test_dino_of_a_fixed_size(tmp_path):
    """The export itself compares it with mmdet's predict, each image of a batch."""
    config = write_dino(tmp_path / 'small.py')
    torch.save(dict(state_dict=build_small(config).state_dict()), tmp_path / 'small.pth')
    given = dict(checkpoint=str(tmp_path / 'small.pth'), shape=(64, 96))
    found = export_onnx(config, tmp_path / 'a.onnx', batch=2, max_detections=15, **given)
    assert found.outputs['boxes'] == 'float32 (30, 4)' and '15 detections' in found.difference
    assert {node.op_type for node in onnx.load(tmp_path / 'a.onnx').graph.node} > {'GridSample', 'TopK'}
    with pytest.raises(UserError, match=r'for images of any size .* deformable attention .* by --shape HEIGHT WIDTH'):
        export_onnx(config, tmp_path / 'b.onnx')


def test_other_classes_are_seen():
    expected = np.zeros((20, 100))
    found = expected.copy()
    found[0, :2] = 1
    assert check_classes(found, expected) == '2 of 2000 pixels have another class'
    found[0, 2] = 1
    with pytest.raises(UserError, match=r'another class in 3 of 2000 pixels \(allowed: 0.1%\)'):
        check_classes(found, expected)
    assert check_classes(found, expected, 'fp16').startswith('3 of')
    with pytest.raises(UserError, match='a map of'):
        check_classes(found[1:], expected)


@pytest.mark.parametrize('labels, scores', [([2, 1], [0.7, 0.1]), ([2, 0], [0.7, 0.21])])
def test_another_ranking_is_seen(labels, scores):
    """A class that is not among the most likely, or another score."""
    expected = np.array([0.2, 0.1, 0.7])
    with pytest.raises(UserError, match='scores that differ by 1.0e-0'):
        check_ranking([np.array(labels), np.array(scores)], expected)
    check_ranking([np.array([2, 0]), np.array([0.7, 0.2])], expected)


def test_the_table_names_files_and_classes():
    for file, name in HEADS.values():
        path = ROOT / 'mmfasternet/deploy/heads' / f'{file}.py'
        assert f'class {name}(' in path.read_text()
