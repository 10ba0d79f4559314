"""Files of a fixed size, for several images, with fewer objects and with small masks: still what the model predicts."""

import numpy as np
import pytest
import torch
from helpers.complete_models import MODELS, build_small, write_small
from helpers.project import EXPORTS, ROOT, run_tool

if not EXPORTS:
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

import json

import onnxruntime
import skimage
from torch import Tensor

from mmfasternet.benchmark.measure.backends import openvino_core
from mmfasternet.deploy import export
from mmfasternet.deploy.export import export_onnx
from mmfasternet.deploy.heads import complete_graph
from mmfasternet.deploy.heads.rois import paste
from mmfasternet.deploy.inputs import calibration_images, input_meaning
from mmfasternet.engine.build import build_model
from mmfasternet.errors import UserError

# RTMDet's config pads images with this grey, before the model.
GREY = dict(size_divisor=32, pad_val=dict(img=(114, 114, 114)))


def photos(*size: int) -> Tensor:
    """Three images of one size in which different things are found."""
    found = [skimage.transform.resize(photo, size, preserve_range=True) for photo in (skimage.data.chelsea(),)]
    found += [found[0][::-1, ::-1], 255 - found[0]]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float()


def graph_of(head: str, tmp_path, **options):
    pad = GREY if head.startswith('RTMDet') else None
    return complete_graph(build_small(write_small(head, tmp_path / 'small.py')), pad, **options)


@pytest.mark.parametrize('head', MODELS)
@torch.no_grad()
def test_each_image_of_a_batch_is_the_models_own_predict(head, tmp_path):
    """Of three images, and of one."""
    graph, images = graph_of(head, tmp_path, batched=True), photos(97, 130)
    for batch in (images, images[:1]):
        found = graph.of_each([output.numpy() for output in graph(batch)], len(batch))
        assert len(found) == len(batch)
        for image, one in zip(batch, found, strict=True):
            graph.check(one, graph.predict(image[None]), 'fp32')
    if graph.task == 'detection':
        assert all(len(one[0]) > 30 for one in found) and graph.outputs[-1] == 'images'


@pytest.mark.parametrize('head', ['RetinaHead', 'CascadeRoIHead'])
@torch.no_grad()
def test_fewer_detections(head, tmp_path):
    """The best ones, of each image of a batch."""
    graph, images = graph_of(head, tmp_path, batched=True), photos(97, 130)
    every = graph.of_each([output.numpy() for output in graph(images)], 3)
    graph.limit_detections(4)
    few = graph.of_each([output.numpy() for output in graph(images)], 3)
    for image, more, fewer in zip(images, every, few, strict=True):
        assert len(fewer[1]) == 4 < len(more[1])
        np.testing.assert_array_equal(fewer[1], more[1][:4])
        graph.check(fewer, graph.predict(image[None]), 'fp32')


@torch.no_grad()
def test_small_masks_are_the_masks_before_they_are_pasted(tmp_path):
    graph, image = graph_of('CascadeRoIHead', tmp_path, small_masks=True), photos(97, 130)[:1]
    boxes, _, _, masks = found = graph(image)
    assert masks.shape[1:] == (28, 28) and masks.is_floating_point() and 0 <= masks.min() < 0.5 < masks.max() <= 1
    assert graph.facts == dict(score_thr=0.05, mask_thr=0.5)
    expected = graph.predict(image)
    assert 'masks in ' in graph.check([output.numpy() for output in found], expected, 'fp32')
    wrong = [output.numpy() for output in (*found[:3], 1 - masks)]
    with pytest.raises(UserError, match='a mask that differs in'):
        graph.check(wrong, expected, 'fp32')
    graph.small_masks = False
    assert torch.equal(graph(image)[3], paste(masks, boxes, (97, 130)) >= 0.5)


@pytest.mark.parametrize(
    'head, options, image, outputs',
    [
        (
            'FasterNetClsHead',
            dict(batch='dynamic'),
            '(batch, 3, height, width)',
            dict(labels='int64 (batch, 5)', scores='float32 (batch, 5)'),
        ),
        ('FasterNetClsHead', dict(batch=2, shape=(64, 96)), '(2, 3, 64, 96)', dict(labels='int64 (2, 5)')),
        ('RTMDetSepBNHead', dict(shape=(96, 128), max_detections=9), '(1, 3, 96, 128)', {}),
        pytest.param(
            'RTMDetInsSepBNHead',
            dict(shape=(96, 128), batch='dynamic', max_detections=9),
            '(batch, 3, 96, 128)',
            dict(masks='bool (detections, 96, 128)', images='int64 (detections)'),
            marks=pytest.mark.slow,
        ),
        pytest.param('FPNHead', dict(batch=2), '(2, 3, height, width)', {}, marks=pytest.mark.slow),
        pytest.param(
            'RetinaHead',
            dict(batch='dynamic'),
            '(batch, 3, height, width)',
            dict(images='int64 (detections)'),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            'CascadeRoIHead',
            dict(batch='dynamic', masks='small'),
            '(batch, 3, height, width)',
            dict(masks='float32 (detections, 28, 28)', images='int64 (detections)'),
            marks=pytest.mark.exports,
        ),
    ],
)
def test_a_file_of_this_form_is_the_models_own_predict(head, options, image, outputs, tmp_path):
    """In both runtimes."""
    config, checkpoint = write_small(head, tmp_path / 'small.py'), tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=build_small(config).state_dict()), checkpoint)
    file = export_onnx(config, tmp_path / 'complete.onnx', checkpoint=str(checkpoint), **options)
    assert file.inputs == dict(image=f'float32 {image}') and outputs.items() <= file.outputs.items()
    session = onnxruntime.InferenceSession(file.path, providers=['CPUExecutionProvider'])
    core = openvino_core()
    # On some CPUs it would compute in bfloat16 otherwise.
    compiled = core.compile_model(core.read_model(file.path), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    graph = graph_of(head, tmp_path, batched=options.get('batch', 1) != 1, small_masks='masks' in options)
    if 'max_detections' in options:
        graph.limit_detections(options['max_detections'])
    for number in (1, 3) if options.get('batch') == 'dynamic' else (options.get('batch', 1),):
        images = photos(*options.get('shape', (97, 130)))[:number]
        for found in (session.run(None, {'image': images.numpy()}), list(compiled(images.numpy()).values())):
            for one, given in zip(graph.of_each(found, number), images, strict=True):
                graph.check(one, graph.predict(given[None]), 'fp32')
                assert len(one[0]) == options.get('max_detections', len(one[0])) > 0


def test_feature_maps_of_a_fixed_form(tmp_path):
    file = export_onnx(
        ROOT / 'configs/mask_rcnn_fasternet_t0.py', tmp_path / 'b.onnx', 'backbone', shape=(64, 96), batch=1
    )
    assert file.inputs == dict(image='float32 (1, 3, 64, 96)') and file.outputs['map3'] == 'float32 (1, 320, 2, 3)'


def test_int8_of_a_fixed_form(tmp_path):
    """Calibrated on images of the file's size and number."""
    config, checkpoint = write_small('FasterNetClsHead', tmp_path / 'small.py'), tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=build_small(config).state_dict()), checkpoint)
    skimage.io.imsave(tmp_path / 'cat.png', skimage.data.chelsea()[:100, :140])
    file = export_onnx(
        config, tmp_path / 'a.onnx', checkpoint=str(checkpoint), int8=tmp_path / 'cat.png', shape=(64, 96), batch=2
    )
    assert file.inputs == dict(image='float32 (2, 3, 64, 96)') and file.operators['QuantizeLinear'] > 10


def test_how_images_get_a_fixed_size():
    """As the config does it where it always gives this size; else they are fitted, and padded as the model pads."""
    cfg, model = build_model(ROOT / 'configs/classification/fasternet_s_imagenet.py')
    steps = input_meaning(cfg, model, 'detector', 'classification')['resize']
    assert [step['type'] for step in steps] == ['ResizeEdge', 'CenterCrop']
    assert input_meaning(cfg, model, 'detector', 'classification', (224, 224))['resize'] == steps
    meaning = input_meaning(cfg, model, 'detector', 'classification', (256, 320))
    assert meaning['resize'] == [dict(type='Resize', scale=[320, 256])]
    cfg, model = build_model(ROOT / 'configs/detection/rtmdet_fasternet_s.py')
    meaning = input_meaning(cfg, model, 'detector', 'detection', (480, 640))
    assert meaning['resize'] == [dict(type='Fit', width=640, height=480)] and meaning['pad'] == [114, 114, 114]


def test_calibration_images_of_a_fixed_size_are_those_of_the_graph(tmp_path):
    """Red, green and blue, beside the colour that the model pads with."""
    cfg, model = build_model(ROOT / 'configs/mask_rcnn_fasternet_t0.py')
    blue = np.zeros((20, 20, 3), np.uint8)
    blue[:, :, 2] = 255
    skimage.io.imsave(tmp_path / 'blue.png', blue, check_contrast=False)
    (image,) = calibration_images(cfg, model, 'detector', tmp_path, (64, 96), 2)
    assert image.shape == (2, 3, 64, 96) and (image[:, :, :, :64] == np.array([0, 0, 255])[:, None, None]).all()
    np.testing.assert_allclose(image[1, :, 5, 80], [123.675, 116.28, 103.53], rtol=1e-6)
    (image,) = calibration_images(cfg, model, 'backbone', tmp_path, (64, 96), 1)
    np.testing.assert_allclose(image[0, :, 5, 80], 0, atol=1e-2)
    np.testing.assert_allclose(image[0, :, 5, 5], [-2.1179, -2.0357, 2.64], atol=1e-3)


@pytest.mark.parametrize(
    'head, options, message',
    [
        (
            'RetinaHead',
            dict(shape=(100, 128)),
            r'multiples of 32 for this model, but got 100 128; the next are 128 128',
        ),
        ('RetinaHead', dict(shape=(0, 128)), r'--shape is a height and a width in pixels, but got \(0, 128\)'),
        ('RetinaHead', dict(batch=0), 'a number of images from 1, or dynamic, but got 0'),
        ('RetinaHead', dict(batch='many'), "or dynamic, but got 'many'"),
        ('RetinaHead', dict(max_detections=0), '--max-detections must be at least 1, but got 0'),
        ('RetinaHead', dict(masks='tiny'), "--masks must be one of full, small, but got 'tiny'"),
        ('RetinaHead', dict(masks='small'), 'this RetinaNet gives no masks, which could be small'),
        ('StandardRoIHead', dict(masks='small'), 'this FasterRCNN gives no masks'),
        ('FPNHead', dict(max_detections=5), 'objects of a detector, but this model does segmentation'),
        ('FasterNetClsHead', dict(masks='small'), 'this ImageClassifier gives no masks'),
        ('RTMDetInsSepBNHead', dict(masks='small'), 'the masks of this RTMDet are of the complete image'),
        ('RetinaHead', dict(part='neck', max_detections=5), '--max-detections is for complete models, and --part neck'),
        ('RetinaHead', dict(part='backbone', masks='small'), '--masks small is for complete models'),
    ],
)
def test_a_form_that_does_not_fit_is_one_message(head, options, message, tmp_path, monkeypatch):
    """Before weights are read, and anything is written."""
    config = write_small(head, tmp_path / 'small.py')
    monkeypatch.setattr(export, 'load_model', None)
    monkeypatch.setattr(export, 'to_onnx', None)
    with pytest.raises(UserError, match=message):
        export_onnx(config, tmp_path / 'a.onnx', checkpoint='none.pth', **options)
    assert [path.name for path in tmp_path.iterdir()] == ['small.py']


def test_a_wrong_batch_of_the_tool_is_one_message(tmp_path):
    config = ROOT / 'configs/mask_rcnn_fasternet_t0.py'
    done = run_tool(ROOT / 'tools/export.py', config, '--out', tmp_path / 'a.onnx', '--batch', 'x')
    assert done.returncode == 2 and done.stderr.splitlines()[-1].endswith("--batch: 'x' is no number of images")


def test_classes_and_colours_of_the_checkpoint_come_first(tmp_path):
    """As in image_demo; a class without a name has a number."""
    config = write_small('FasterNetClsHead', tmp_path / 'small.py')
    weights = build_small(config).state_dict()
    for saved, names in (
        (dict(classes=('a', 'b'), palette=[[1, 2, 3]] * 7), ['a', 'b', '2', '3', '4', '5', '6']),
        (dict(classes=list('abcdefghi'), palette='random'), list('abcdefg')),
    ):
        torch.save(dict(state_dict=weights, meta=dict(dataset_meta=saved)), tmp_path / 'x.pth')
        file = export_onnx(config, tmp_path / 'a.onnx', checkpoint=str(tmp_path / 'x.pth'), shape=(64, 64))
        found = onnxruntime.InferenceSession(file.path).get_modelmeta().custom_metadata_map
        assert json.loads(found['classes']) == names and found['task'] == 'classification'
        assert json.loads(found.get('palette', 'null')) == (None if saved['palette'] == 'random' else [[1, 2, 3]] * 7)
