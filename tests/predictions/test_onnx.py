"""Exported files run on images and videos: drawn and written as image_demo does it, without PyTorch."""

import json
import os
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.project import EXPORTS, ROOT, run_tool
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmfasternet.errors import UserError

if not EXPORTS:
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

import onnx
from helpers.onnx_files import write_classifier, write_detector, write_segmentor

from mmfasternet.predictions.masks import paste_masks
from mmfasternet.predictions.metadata import read_metadata
from mmfasternet.predictions.onnx_file import OnnxFile
from mmfasternet.predictions.onnx_run import predict_with_file
from mmfasternet.predictions.video import write_video

TOOL = ROOT / 'tools/predict_onnx.py'


def scene(path: Path, size: tuple[int, int] = (64, 96), **options) -> Path:
    """Black, with a red corner at the upper left."""
    image = np.zeros((*size, 3), np.uint8)
    image[: size[0] // 3, : size[1] // 3] = 255, 0, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def predict(file: Path, images: Path, out: Path, **options) -> dict:
    done, left_out = predict_with_file(file, images, out, **options)
    found = json.loads((out / 'predictions.json').read_text())
    assert done == len(found['images']) and not left_out
    return found


def test_objects_are_a_coco_data_set(tmp_path):
    file = write_detector(tmp_path / 'a.onnx', checkpoint_sha256='ab' * 32)
    scene(tmp_path / 'images/a.png')
    scene(tmp_path / 'images/b.tif', (40, 50))
    found = predict(file, tmp_path / 'images', tmp_path / 'out')
    assert found['info'] == dict(config='made_up.py', mmfasternet='0', checkpoint_sha256='ab' * 32, precision='fp32')
    coco = COCO(tmp_path / 'out/predictions.json')
    assert [image['file_name'] for image in coco.dataset['images']] == ['a.png', 'b.tif']
    assert [category['name'] for category in coco.dataset['categories']] == ['cat', 'dog']
    # That of a low score is left out; the highest one of each image comes first.
    kept = [(entry['image_id'], entry['category_id'], entry['bbox']) for entry in coco.dataset['annotations']]
    expected = [(2, [8, 4, 16, 16]), (1, [0, 0, 16, 8])]
    assert kept == [(image, category, box) for image in (1, 2) for category, box in expected]
    assert [entry['score'] for entry in coco.dataset['annotations']] == pytest.approx([0.9, 0.6] * 2)
    assert sorted(os.listdir(tmp_path / 'out/vis')) == ['a.png', 'b.tif.png']
    drawn = np.asarray(Image.open(tmp_path / 'out/vis/a.png').convert('RGB'))
    assert drawn.shape == (64, 96, 3) and drawn[19, 23].any() and not drawn[50, 80].any()


def test_boxes_and_masks_are_of_the_image_as_it_is_given(tmp_path):
    """Which is resized before the model, to half its size here."""
    masks = np.zeros((3, 32, 48), bool)
    masks[0, 4:20, 8:24] = True
    steps = dict(resize=[dict(type='Resize', scale=[48, 32], keep_ratio=True)])
    file = write_detector(tmp_path / 'a.onnx', masks, input=steps)
    found = predict(file, scene(tmp_path / 'a.png'), tmp_path / 'out', score_thr=0.7)
    (entry,) = found['annotations']
    assert entry['bbox'] == [16, 8, 32, 32] and entry['area'] == 1024
    decoded = coco_mask.decode(entry['segmentation']).astype(bool)
    assert decoded.shape == (64, 96) and decoded[8:40, 16:48].all() and decoded.sum() == 1024


def test_small_masks_are_stretched_over_their_boxes(tmp_path):
    probabilities = np.zeros((3, 28, 28), np.float32)
    probabilities[0, :14] = 0.9
    steps = dict(resize=[dict(type='Resize', scale=[48, 32], keep_ratio=True)])
    file = write_detector(tmp_path / 'a.onnx', probabilities, input=steps, mask_thr=0.6)
    found = predict(file, scene(tmp_path / 'a.png'), tmp_path / 'out', score_thr=0.7)
    decoded = coco_mask.decode(found['annotations'][0]['segmentation']).astype(bool)
    # The upper half, where it is sure; the edge is where the probability falls to 0.6.
    assert decoded[8:24, 17:47].all() and not decoded[25:].any() and not decoded[:, :15].any()


def test_pasted_masks_are_those_of_mmdet():
    import torch
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    rng = np.random.default_rng(0)
    masks = rng.random((20, 28, 28), np.float32)
    corners = rng.uniform(-5, 90, (20, 2))
    boxes = np.hstack([corners, corners + rng.uniform(1, 60, (20, 2))]).astype(np.float32)
    exact, _ = _do_paste_mask(torch.from_numpy(masks)[:, None], torch.from_numpy(boxes), 70, 100, skip_empty=False)
    found = np.stack(paste_masks(masks, boxes, 70, 100, 0.5))
    assert (found != (exact.numpy() >= 0.5)).sum() <= 2 and found.any()


def test_an_image_in_a_file_of_a_fixed_size(tmp_path):
    """It is fitted, and padded; boxes end where the image does, and those beside it are left out."""
    steps = dict(resize=[dict(type='Fit', width=64, height=64)], pad=[1, 2, 3])
    file = write_detector(tmp_path / 'a.onnx', shape=(64, 64), input=steps)
    # 24 × 96 pixels become 16 × 64.
    found = predict(file, scene(tmp_path / 'a.png', (24, 96)), tmp_path / 'out', score_thr=0)
    boxes = [entry['bbox'] for entry in found['annotations']]
    np.testing.assert_allclose(boxes, [[12, 6, 24, 18], [0, 0, 24, 12], [45, 15, 15, 9]], rtol=1e-5)
    (outputs,) = OnnxFile(write_segmentor(tmp_path / 'b.onnx', shape=(64, 64), input=steps))(
        [np.full((24, 96, 3), 9, np.uint8)]
    )
    # Blue, which is the strongest channel of the padding.
    assert (outputs.height, outputs.width) == (16, 64) and (outputs.values['classes'][16:] == 2).all()


@pytest.mark.parametrize('orientation', range(1, 9))
def test_photographs_are_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = scene(tmp_path / 'images/a.jpg', exif=exif, quality=95)
    found = predict(write_segmentor(tmp_path / 'a.onnx'), path, tmp_path / 'out')
    (image,) = found['images']
    size = (96, 64) if orientation < 5 else (64, 96)
    assert (image['width'], image['height']) == size == Image.open(tmp_path / 'out/maps/a.png').size
    assert found['classes'] == ['red', 'green', 'blue'] and image['shares']['red'] > 0.9  # black too


def test_maps_have_the_size_of_their_images_and_red_is_red(tmp_path):
    """The channels are in the order that the file takes; colours are the file's."""
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, :10, 0], image[:, 10:30, 1], image[:, 30:, 2] = 255, 255, 255
    Image.fromarray(image).save(tmp_path / 'a.png')
    palette = [[9, 0, 0], [0, 9, 0], [0, 0, 9]]
    steps = dict(resize=[dict(type='Resize', scale=[80, 60])])
    file = write_segmentor(tmp_path / 'a.onnx', palette=palette, input=steps)
    found = predict(file, tmp_path / 'a.png', tmp_path / 'out')
    assert found['images'][0]['shares'] == dict(red=0.25, green=0.5, blue=0.25)
    mapped = Image.open(tmp_path / 'out/maps/a.png')
    assert mapped.getpalette()[:9] == sum(palette, []) and np.asarray(mapped)[5, [0, 15, 39]].tolist() == [0, 1, 2]


def test_a_classifier_ranks(tmp_path):
    Image.new('RGB', (40, 40), (51, 255, 102)).save(tmp_path / 'a.png')
    found = predict(write_classifier(tmp_path / 'a.onnx'), tmp_path / 'a.png', tmp_path / 'out')
    (image,) = found['images']
    top = [dict(label=label, name=name, score=score) for label, name, score in RANKED]
    assert image['top'] == top and Image.open(tmp_path / 'out/vis/a.png').height > 40


RANKED = ((1, 'green', 255.0), (2, 'blue', 102.0), (0, 'red', 51.0))


@pytest.mark.parametrize('batch, size', [(2, None), ('batch', 2), ('batch', None)])
def test_batches(tmp_path, batch, size):
    """Images of one size run together, those of another apart; a file for two repeats the last."""
    for number in range(5):
        scene(tmp_path / f'images/{number}.png', (64, 96) if number < 4 else (40, 50))
    file = write_segmentor(tmp_path / 'a.onnx', batch=batch)
    found = predict(file, tmp_path / 'images', tmp_path / 'out', batch_size=size)
    assert [image['height'] for image in found['images']] == [64] * 4 + [40]
    assert np.asarray(Image.open(tmp_path / 'out/maps/4.png')).shape == (40, 50)


def test_objects_of_a_batch_go_to_their_images(tmp_path):
    file = write_detector(tmp_path / 'a.onnx')
    model = onnx.load(file)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    of = onnx.numpy_helper.from_array(np.array([0, 1, 1]))
    model.graph.node.append(onnx.helper.make_node('Constant', [], ['images'], value=of))
    model.graph.output.append(onnx.helper.make_tensor_value_info('images', onnx.TensorProto.INT64, [3]))
    onnx.save(model, file)
    for name in 'abc':
        scene(tmp_path / f'images/{name}.png')
    found = predict(file, tmp_path / 'images', tmp_path / 'out', score_thr=0)
    boxes = [(entry['image_id'], entry['bbox'][0]) for entry in found['annotations']]
    assert boxes == [(1, 8), (2, 0), (2, 30), (3, 8)]
    with pytest.raises(UserError, match='takes 2 images per batch, but got --batch-size 3'):
        predict(file, tmp_path / 'images', tmp_path / 'out', batch_size=3)


def test_what_is_left_out_and_what_is_never_written_over(tmp_path):
    file = write_segmentor(tmp_path / 'a.onnx')
    scene(tmp_path / 'images/a.png')
    scene(tmp_path / 'images/small.png', (20, 40))
    (tmp_path / 'images/b.jpg').write_bytes(b'no image')
    done, left_out = predict_with_file(file, tmp_path / 'images', tmp_path / 'out')
    assert done == 1 and [path.name for path in left_out] == ['b.jpg', 'small.png']
    assert left_out[tmp_path / 'images/small.png'].endswith('40 × 20 pixels, fewer than FasterNet takes')
    scene(tmp_path / 'data/vis/a.png')
    before = (tmp_path / 'data/vis/a.png').read_bytes()
    with pytest.raises(UserError, match='would be drawn over'):
        predict_with_file(file, tmp_path / 'data/vis', tmp_path / 'data')
    assert (tmp_path / 'data/vis/a.png').read_bytes() == before


def test_scores_that_are_not_finite_are_left_out(tmp_path):
    model = onnx.load(write_detector(tmp_path / 'a.onnx'))
    scores = onnx.numpy_helper.from_array(np.array([np.nan, 0.5, 0.4], np.float32))
    model.graph.node[1].attribute[0].t.CopyFrom(scores)
    onnx.save(model, tmp_path / 'a.onnx')
    _, left_out = predict_with_file(tmp_path / 'a.onnx', scene(tmp_path / 'a.png'), tmp_path / 'out')
    assert 'not finite' in left_out[tmp_path / 'a.png']


# Videos.


def write_frames(path: Path, number: int = 6, size: tuple[int, int] = (64, 96)) -> Path:
    """Red, then black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, size[::-1])
    assert writer.isOpened()
    for frame in range(number):
        image = np.zeros((*size, 3), np.uint8)
        image[:, :, 2] = 250 if frame < number // 2 else 0
        writer.write(image)
    writer.release()
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    source, frames = cv2.VideoCapture(str(path)), []
    while (read := source.read())[0]:
        frames.append(read[1])
    return frames


def test_a_video(tmp_path):
    video = write_frames(tmp_path / 'drive.mp4')
    found = predict(write_detector(tmp_path / 'a.onnx'), video, tmp_path / 'out', score_thr=0.7)
    names = [image['file_name'] for image in found['images']]
    assert names == [f'drive_{number:06}.png' for number in range(1, 7)] and len(found['annotations']) == 6
    assert os.listdir(tmp_path / 'out/vis') == ['drive.mp4']
    frames = frames_of(tmp_path / 'out/vis/drive.mp4')
    assert len(frames) == 6 and frames[0].shape == (64, 96, 3)
    # Red as it was, and then black, with a box in each.
    red = [int(frame[50:, 60:, 2].mean()) for frame in frames]
    assert min(red[:3]) > 200 and max(red[3:]) < 30 and all(frame[4, 10:22].max() > 100 for frame in frames)
    assert cv2.VideoCapture(str(tmp_path / 'out/vis/drive.mp4')).get(cv2.CAP_PROP_FPS) == 10


def test_the_maps_of_a_video(tmp_path):
    found = predict(write_segmentor(tmp_path / 'a.onnx'), write_frames(tmp_path / 'a.mp4', 2), tmp_path / 'out')
    assert sorted(os.listdir(tmp_path / 'out/maps')) == ['a_000001.png', 'a_000002.png']
    assert [image['map'] for image in found['images']] == ['maps/a_000001.png', 'maps/a_000002.png']
    assert len(frames_of(tmp_path / 'out/vis/a.mp4')) == 2


def test_an_interrupted_video_has_its_frames_until_then(tmp_path):
    class Interrupted:
        def predict(self, images):
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            return self.predictor.predict(images)

        def __getattr__(self, name):
            return getattr(self.predictor, name)

    from mmfasternet.predictions.onnx_predictors import onnx_predictor

    stopping = Interrupted()
    stopping.predictor, stopping.left = onnx_predictor(OnnxFile(write_detector(tmp_path / 'a.onnx'))), 4
    with pytest.raises(KeyboardInterrupt):
        write_video(lambda: stopping, write_frames(tmp_path / 'a.mp4'), tmp_path / 'out', 1)
    assert len(frames_of(tmp_path / 'out/vis/a.mp4')) == 4 and os.listdir(tmp_path / 'out/vis') == ['a.mp4']
    assert len(json.loads((tmp_path / 'out/predictions.json').read_text())['images']) == 4


def test_videos_that_cannot_be_read_or_would_be_written_over(tmp_path):
    file = write_detector(tmp_path / 'a.onnx')
    (tmp_path / 'a.mp4').write_bytes(b'no video')
    with pytest.raises(UserError, match='a.mp4 cannot be read as a video'):
        predict_with_file(file, tmp_path / 'a.mp4', tmp_path / 'out')
    video = write_frames(tmp_path / 'out/vis/b.mp4')
    before = video.read_bytes()
    with pytest.raises(UserError, match='is the video, and would be drawn over'):
        predict_with_file(file, video, tmp_path / 'out')
    assert video.read_bytes() == before and os.listdir(tmp_path / 'out') == ['vis']


# Files and metadata that anybody may have written.

GOOD = dict(part='detector', task='detection', classes='["cat"]', input='{"resize": []}')


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(part='neck'), "no complete model .* part='neck'"),
        (dict(task='x' * 10**6), 'has task=.* not one of detection, segmentation, classification'),
        (dict(classes='["cat"'), 'has classes=.*, not JSON'),
        (dict(classes=''), 'not JSON'),
        (dict(classes='[' * 10**5), 'not JSON'),
        (dict(classes='"' + 'x' * 10**7 + '"'), 'has classes=10000002 characters, not at most'),
        (dict(classes='[]'), 'not a list of 1 to'),
        (dict(classes='[1]'), 'not a list of 1 to'),
        (dict(classes='{"a": "b"}'), 'not a list of 1 to'),
        (dict(classes=json.dumps(['x' * 501])), 'not a list of 1 to'),
        (dict(palette='[[1, 2, 300]]'), 'not a colour'),
        (dict(palette='[[1, 2, 3], [1, 2, 3]]'), 'not a colour'),
        (dict(palette='[[1, 2, true]]'), 'not a colour'),
        (dict(input='[]'), 'not an object with a list of steps'),
        (dict(input='{"resize": {}}'), 'not an object with a list of steps'),
        (dict(input='{"resize": [{"type": "Resize", "scale": "a"}]}'), "has input=scale='a' of Resize"),
        (dict(input='{"resize": [], "pad": [NaN, 0, 0]}'), 'pad, a colour'),
        (dict(input='{"resize": [], "pad": 3}'), 'pad, a colour'),
        (dict(mask_thr='"high"'), 'has mask_thr=.*, not a number'),
    ],
)
def test_wrong_metadata_is_one_message(change, message):
    assert read_metadata(GOOD).classes == ['cat']
    with pytest.raises(UserError, match=message) as refused:
        read_metadata({**GOOD, **change})
    assert len(str(refused.value)) < 500


def test_files_that_are_none_of_ours(tmp_path):
    (tmp_path / 'a.onnx').write_bytes(b'no model')
    detector = write_detector(tmp_path / 'b.onnx').read_bytes()
    cut = tmp_path / 'cut.onnx'
    cut.write_bytes(detector[: len(detector) // 2])
    model = onnx.load_model_from_string(detector)
    model.graph.output[0].name = model.graph.node[0].output[0] = 'corners'
    onnx.save(model, tmp_path / 'c.onnx')
    model = onnx.load_model_from_string(detector)
    model.graph.input[0].name = 'pixels'
    onnx.save(model, tmp_path / 'd.onnx')
    write_segmentor(tmp_path / 'e.onnx', task='detection')
    # A name that is no text.
    (tmp_path / 'f.onnx').write_bytes(detector.replace(b'image', b'imag\xff'))
    for name, message in (
        ('none.onnx', 'does not exist or is no file'),
        ('a.onnx', 'a.onnx cannot be read as an ONNX model'),
        ('cut.onnx', 'cannot be read as an ONNX model'),
        ('c.onnx', r'does not give boxes, tensor\(float\) of 2 dimensions'),
        ('d.onnx', 'and no image of float32'),
        ('e.onnx', 'does not give boxes'),
        ('f.onnx', "cannot be read as an ONNX model: 'utf-8' codec"),
    ):
        with pytest.raises(UserError, match=message):
            OnnxFile(tmp_path / name)


@pytest.mark.parametrize(
    'texts, message',
    [
        (dict(classes=['cat']), 'gives the label 1, but its metadata names 1 classes'),
        (dict(input=dict(resize=[dict(type='Resize', scale=50)])), 'takes images of 64 × 64 .* resizes one to 50 × 50'),
    ],
)
def test_a_file_that_contradicts_itself(texts, message, tmp_path):
    shape = (32, 32) if 'input' in texts else ('height', 'width')
    file = write_detector(tmp_path / 'a.onnx', shape=shape, **texts)
    with pytest.raises(UserError, match=message.replace('64 × 64', '32 × 32')):
        predict_with_file(file, scene(tmp_path / 'a.png'), tmp_path / 'out')


@pytest.mark.parametrize('place, name', [*enumerate(['boxes', 'scores', 'labels', 'masks'])])
def test_outputs_that_do_not_fit_together(place, name, tmp_path):
    model = onnx.load(write_detector(tmp_path / 'a.onnx', np.ones((3, 28, 28), np.float32)))
    values = onnx.numpy_helper.to_array(model.graph.node[place].attribute[0].t)[:2]
    model.graph.node[place].attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(values))
    model.graph.output[place].type.tensor_type.shape.dim[0].dim_param = 'n'
    onnx.save(model, tmp_path / 'a.onnx')
    with pytest.raises(UserError, match=rf'gives .*{name} \(2,.*, as no file of tools/export.py does'):
        predict_with_file(tmp_path / 'a.onnx', scene(tmp_path / 'a.png'), tmp_path / 'out')


def test_masks_and_maps_of_another_size(tmp_path):
    write_detector(tmp_path / 'a.onnx', np.ones((3, 28, 28), bool))
    model = onnx.load(write_segmentor(tmp_path / 'b.onnx'))
    model.graph.node.insert(0, onnx.helper.make_node('MaxPool', ['image'], ['x'], kernel_shape=[2, 2], strides=[2, 2]))
    model.graph.node[1].input[0] = 'x'
    for output, name in zip(model.graph.output[0].type.tensor_type.shape.dim, 'hw', strict=True):
        output.dim_param = name
    onnx.save(model, tmp_path / 'b.onnx')
    for name in 'ab':
        with pytest.raises(UserError, match='as no file of tools/export.py does'):
            predict_with_file(tmp_path / f'{name}.onnx', scene(tmp_path / 'a.png'), tmp_path / 'out')


def test_a_file_that_fails_on_an_image(tmp_path):
    """Such as one whose sizes do not fit; the results until then are written."""
    model = onnx.load(write_segmentor(tmp_path / 'a.onnx'))
    model.graph.node.insert(0, onnx.helper.make_node('Reshape', ['image', 'odd'], ['x']))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 3, 7, 11]), 'odd'))
    model.graph.node[1].input[0] = 'x'
    onnx.save(model, tmp_path / 'a.onnx')
    with pytest.raises(UserError, match='a.onnx cannot be run: '):
        predict_with_file(tmp_path / 'a.onnx', scene(tmp_path / 'a.png'), tmp_path / 'out')
    assert json.loads((tmp_path / 'out/predictions.json').read_text())['images'] == []


@pytest.mark.parametrize('score', [-0.1, 1.5, float('nan')])
def test_a_score_is_from_0_to_1(tmp_path, score):
    with pytest.raises(UserError, match='a score is from 0 to 1'):
        predict_with_file(write_detector(tmp_path / 'a.onnx'), scene(tmp_path / 'a.png'), tmp_path, score_thr=score)


# The tool.


def test_the_tool_needs_no_torch(tmp_path):
    """Nor what needs it, also as a command; drawing and videos included."""
    file = write_detector(tmp_path / 'a.onnx', np.ones((3, 28, 28), np.float32))
    scene(tmp_path / 'images/a.png')
    (tmp_path / 'images/b.png').write_bytes(b'no image')
    video = write_frames(tmp_path / 'a.mp4', 2)
    without = (
        'import sys\n'
        "sys.modules.update(dict.fromkeys('torch torchvision mmengine mmcv mmdet mmseg mmpretrain'.split()))\n"
        'import mmfasternet_cli\n'
        "sys.argv = ['mmfasternet', 'predict_onnx', *sys.argv[1:]]\n"
        'try:\n    mmfasternet_cli.main()\n'
        'finally:\n    print(*(name for name, module in sys.modules.items() if module), file=sys.stderr)\n'
    )
    for inputs, said, code in (
        (tmp_path / 'images', f'1 drawn images in {tmp_path}/out/vis', 1),
        (video, '2 drawn images', 0),
    ):
        done = run_tool(sys.executable, '-c', without, file, inputs, '--out-dir', tmp_path / 'out')
        assert done.returncode == code and said in done.stdout, done.stderr[-2000:]
        loaded = {name.partition('.')[0] for name in done.stderr.split()}
        assert 'onnxruntime' in loaded and not loaded & {'torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet'}
        assert ('error: 1 of 2 images are left out:' in done.stderr) == (code == 1) and 'Traceback' not in done.stderr


def test_the_example_finds_the_same(tmp_path):
    """That of docs/examples, which is read rather than run; also where the image is resized before the model."""
    masks = np.zeros((3, 32, 48), bool)
    masks[0, 4:20, 8:24] = True
    steps = dict(resize=[dict(type='Resize', scale=[48, 32], keep_ratio=True)])
    file, image = write_detector(tmp_path / 'a.onnx', masks, input=steps), scene(tmp_path / 'a.png')
    done = run_tool(ROOT / 'docs/examples/detect_onnx.py', file, image, tmp_path / 'drawn.png')
    found = predict(file, image, tmp_path / 'out')
    lines = []
    for entry in found['annotations']:
        x, y, width, height = entry['bbox']
        name = ('cat', 'dog')[entry['category_id'] - 1]
        lines.append(f'{name} {entry["score"]:.2f} at {x:.1f} {y:.1f} {x + width:.1f} {y + height:.1f}')
    assert done.stdout.splitlines() == [*lines, f'2 objects drawn in {tmp_path}/drawn.png']
    drawn = np.asarray(Image.open(tmp_path / 'drawn.png'))
    decoded = coco_mask.decode(found['annotations'][0]['segmentation']).astype(bool)
    # Apart from the lines of the boxes.
    assert drawn[decoded][:, 0].all() and drawn.shape == (64, 96, 3) and not drawn[45:, 60:].any()


def test_a_mistake_of_the_tool_is_one_message(tmp_path):
    (tmp_path / 'a.onnx').write_bytes(b'no model')
    done = run_tool(TOOL, tmp_path / 'a.onnx', tmp_path, '--out-dir', tmp_path / 'out')
    assert done.returncode == 1 and 'Traceback' not in done.stderr and not (tmp_path / 'out').exists()
    assert done.stderr.startswith(f'error: {tmp_path}/a.onnx cannot be read as an ONNX model')


def test_the_tool_beside_the_package(tmp_path, monkeypatch, capsys):
    """Where PyTorch is loaded already, as under `python -m mmfasternet`, the package stays as it is."""
    file, image = write_detector(tmp_path / 'a.onnx'), scene(tmp_path / 'a.png')
    monkeypatch.setattr(sys, 'argv', ['predict_onnx.py', str(file), str(image), '--out-dir', str(tmp_path / 'out')])
    package = sys.modules['mmfasternet']
    runpy.run_path(str(TOOL), run_name='__main__')
    assert sys.modules['mmfasternet'] is package and '1 drawn images' in capsys.readouterr().out


@pytest.mark.parametrize('form', [dict(shape=(32, 48)), dict(masks=np.zeros((3, 28, 28), np.float32))])
def test_the_example_names_the_tool_for_other_files(tmp_path, form):
    file, image = write_detector(tmp_path / 'a.onnx', **form), scene(tmp_path / 'a.png')
    done = run_tool(ROOT / 'docs/examples/detect_onnx.py', file, image, tmp_path / 'drawn.png')
    assert done.returncode == 1 and 'tools/predict_onnx.py runs such files' in done.stderr
    assert 'Traceback' not in done.stderr and not (tmp_path / 'drawn.png').exists()
