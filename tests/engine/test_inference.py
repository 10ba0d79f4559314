"""Predictions over a folder: each result is saved at once, a broken image costs no other, and all sizes are upright."""

import json
import os
import runpy
import sys
import weakref

import numpy as np
import pytest
import torch
from helpers.project import ROOT
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from PIL import Image, ImageOps
from pycocotools.coco import COCO

from mmfasternet.datasets import CLASSES, find_images, read_image
from mmfasternet.engine.build import build_model
from mmfasternet.engine.config import load_config
from mmfasternet.engine.inference import predict_images
from mmfasternet.engine.predictors import detection
from mmfasternet.engine.predictors.detection import StrictDetInferencer
from mmfasternet.engine.predictors.forward import Forward
from mmfasternet.errors import UserError, exit_on_user_error
from mmfasternet.predictions import writing
from mmfasternet.predictions.caption import add_legend
from mmfasternet.weights.reader import CheckpointError

KEPT = {'model.test_cfg.rcnn.score_thr': 0.0, 'model.test_cfg.rcnn.max_per_img': 3}


@pytest.fixture(scope='module')
def detector(slim, tmp_path_factory):
    """A config and random weights, read once."""
    path = tmp_path_factory.mktemp('detector') / 'random.pth'
    torch.manual_seed(0)
    torch.save(build_model(slim)[1].state_dict(), path)
    return StrictDetInferencer(load_config(slim, KEPT), str(path), 'cpu', show_progress=False)


@pytest.fixture
def predict(detector, monkeypatch, tmp_path):
    def run(images, out=None, **options):
        monkeypatch.setattr(detection, 'StrictDetInferencer', lambda *args, **kwargs: detector)
        return predict_images(
            Config(dict(default_scope='mmdet')),
            '',
            find_images(images),
            out or tmp_path / 'out',
            score_thr=0,
            **options,
        )

    return run


def scene(path, **options):
    image = np.zeros((64, 96, 3), np.uint8)
    image[:20, :30] = 255, 0, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_broken_image_costs_no_other(predict, tmp_path):
    rng = np.random.default_rng(0)
    for name in ('b.png', 'c.jpg'):
        noise = Image.fromarray(rng.integers(0, 255, (64, 96, 3), np.uint8))
        noise.save(scene(tmp_path / 'images' / name))
        cut(tmp_path / 'images' / name)
    for name in ('a.png', 'd.tif', 'e.JPG'):
        scene(tmp_path / 'images' / name)
    (tmp_path / 'images/f.png').touch()
    left_out = predict(tmp_path / 'images', batch_size=2)
    assert sorted(path.name for path in left_out) == ['b.png', 'c.jpg', 'f.png']
    assert all(f'{path} cannot be read as an image' in text for path, text in left_out.items())
    assert sorted(os.listdir(tmp_path / 'out/vis')) == ['a.png', 'd.tif.png', 'e.JPG']
    coco = COCO(tmp_path / 'out/predictions.json')
    images = coco.dataset['images']
    assert [(image['id'], image['file_name']) for image in images] == [(1, 'a.png'), (2, 'd.tif'), (3, 'e.JPG')]
    annotations = coco.dataset['annotations']
    assert [annotation['id'] for annotation in annotations] == list(range(1, len(annotations) + 1))
    assert {annotation['image_id'] for annotation in annotations} == {1, 2, 3}
    assert len(coco.dataset['categories']) == len(coco.cats) > 0
    assert sorted(os.listdir(tmp_path / 'out')) == ['.image_demo.lock', 'predictions.json', 'vis']


@pytest.mark.parametrize('orientation', range(1, 9))
def test_everything_is_of_the_upright_image(predict, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = scene(tmp_path / 'images/a.jpg', exif=exif, quality=95)
    assert predict(tmp_path / 'images') == {}
    width, height = (96, 64) if orientation < 5 else (64, 96)
    coco = COCO(tmp_path / 'out/predictions.json')
    (image,) = coco.dataset['images']
    assert (image['width'], image['height']) == (width, height)
    assert Image.open(tmp_path / 'out/vis/a.jpg').size == (width, height)
    for annotation in coco.dataset['annotations']:
        x, y, w, h = annotation['bbox']
        assert x >= 0 and y >= 0 and x + w <= width + 1e-3 and y + h <= height + 1e-3
        assert annotation['segmentation']['size'] == [height, width]
    # As PIL turns it.
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert np.abs(read_image(path)[:, :, ::-1].astype(int) - upright).max() < 40


def test_what_is_found_stays_when_it_is_interrupted(predict, detector, tmp_path, monkeypatch):
    for name in 'abc':
        scene(tmp_path / f'images/{name}.png')
    seen = []

    def read(path):
        if path.name == 'c.png':
            # Each result is there before the next image is read.
            lines = (tmp_path / 'out/predictions.jsonl').read_text().splitlines()
            seen.extend(json.loads(line)['images'][0]['file_name'] for line in lines)
            assert sorted(os.listdir(tmp_path / 'out/vis')) == ['a.png', 'b.png']
            raise KeyboardInterrupt
        return read_image(path)

    monkeypatch.setattr(writing, 'read_image', read)
    with pytest.raises(KeyboardInterrupt):
        predict(tmp_path / 'images')
    assert seen == ['a.png', 'b.png']
    assert len(COCO(tmp_path / 'out/predictions.json').imgs) == 2
    assert not (tmp_path / 'out/predictions.jsonl').exists()


def test_nothing_that_is_given_is_drawn_over(predict, tmp_path):
    path = scene(tmp_path / 'data/vis/a.png')
    before = path.read_bytes()
    with pytest.raises(UserError, match='a.png is one of the images, and would be drawn over'):
        predict(tmp_path / 'data/vis', tmp_path / 'data')
    (tmp_path / 'linked').mkdir()
    (tmp_path / 'linked/vis').symlink_to(path.parent)
    with pytest.raises(UserError, match='would be drawn over'):
        predict(tmp_path / 'data/vis', tmp_path / 'linked')
    assert path.read_bytes() == before and not (tmp_path / 'data/predictions.json').exists()


def test_two_results_of_one_name(predict, tmp_path):
    scene(tmp_path / 'images/a.tif')
    scene(tmp_path / 'images/a.tif.png')
    with pytest.raises(UserError, match='a.tif and .*a.tif.png would both be drawn as'):
        predict(tmp_path / 'images')


def test_predictions_that_are_not_finite_are_left_out(predict, detector, tmp_path, monkeypatch):
    scene(tmp_path / 'images/a.png')
    real = detector.pred2dict

    def pred2dict(sample):
        found = real(sample)
        return found | dict(scores=[float('nan')] * len(found['scores']))

    monkeypatch.setattr(detector, 'pred2dict', pred2dict)
    assert 'not finite' in predict(tmp_path / 'images')[tmp_path / 'images/a.png']
    assert json.loads((tmp_path / 'out/predictions.json').read_text())['images'] == []


def test_an_image_that_does_not_fit_into_memory_is_left_out(predict, detector, tmp_path, monkeypatch):
    for name in 'ab':
        scene(tmp_path / f'images/{name}.png')
    real = type(detector).forward

    def forward(self, inputs, **options):
        if len(inputs['inputs']) > 1 or inputs['data_samples'][0].ori_shape != (64, 96):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(self, inputs, **options)

    monkeypatch.setattr(type(detector), 'forward', forward)
    assert predict(tmp_path / 'images', batch_size=2) == {}
    Image.new('RGB', (40, 40)).save(tmp_path / 'images/c.png')
    assert 'do not fit into memory' in predict(tmp_path / 'images', batch_size=3)[tmp_path / 'images/c.png']


def test_memory_does_not_grow_with_the_number_of_images(predict, detector, tmp_path, monkeypatch):
    """No drawn or read image is held when the next is read."""
    for name in 'abcd':
        scene(tmp_path / f'images/{name}.png')
    alive = []

    def read(path):
        assert sum(reference() is not None for reference in alive) <= 1
        image = read_image(path)
        alive.append(weakref.ref(image))
        return image

    monkeypatch.setattr(writing, 'read_image', read)
    assert predict(tmp_path / 'images') == {} and len(alive) == 4


def test_an_image_beyond_the_limit_of_pil_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    path = scene(tmp_path / 'images/a.jpg')
    assert read_image(path).shape == (64, 96, 3) and find_images(path) == [path]
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_batch_of_none_is_refused(predict, tmp_path):
    scene(tmp_path / 'images/a.png')
    with pytest.raises(UserError, match='at least 1 image'):
        predict(tmp_path / 'images', batch_size=0)


def test_names_do_not_control_the_terminal(tmp_path):
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        find_images(tmp_path / 'a\x1b[2K\udcff.png')
    assert '\\x1b[2K\\udcff.png cannot be read' in end.value.code and '\x1b' not in end.value.code


def test_the_tool_lists_what_is_left_out(detector, slim, tmp_path, monkeypatch, capsys):
    scene(tmp_path / 'images/a.png')
    (tmp_path / 'images/b.png').write_bytes(b'no image')
    monkeypatch.setattr(detection, 'StrictDetInferencer', lambda *args, **kwargs: detector)
    out = tmp_path / 'out'
    arguments = ['image_demo.py', tmp_path / 'images', slim, 'random.pth', '--out-dir', out, '--device', 'cpu']
    monkeypatch.setattr(sys, 'argv', list(map(str, arguments)))
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / 'tools/image_demo.py'), run_name='__main__')
    assert end.value.code.startswith('error: 1 of 2 images are left out:\n- ') and 'b.png cannot' in end.value.code
    assert f'1 drawn images in {out}/vis' in capsys.readouterr().out


# Segmentors and classifiers.


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Configs of the demo's segmentor and classifier, and random weights of them that know their classes."""
    found = {}
    names = dict(
        seg=('semantic_fpn_fasternet_t0_shapes', ('background', *CLASSES)), cls=('fasternet_t0_shape_crops', CLASSES)
    )
    for task, (name, classes) in names.items():
        torch.manual_seed(0)
        cfg, model = build_model(ROOT / f'configs/demo/{name}.py')
        path = tmp_path_factory.mktemp(task) / 'random.pth'
        torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=classes))), path)
        found[task] = cfg, path
    return found


def predict_task(weights, task, images, out, **options):
    cfg, path = weights[task]
    left_out = predict_images(cfg, str(path), find_images(images), out, device='cpu', **options)
    return left_out, json.loads((out / 'predictions.json').read_text())


@pytest.fixture
def images(tmp_path):
    """Images of three sizes, one of them turned and one of them no image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(tmp_path / 'images/a.png')
    scene(tmp_path / 'images/b.jpg', exif=exif)
    Image.new('RGB', (45, 33), 'red').save(tmp_path / 'images/c.tif')
    (tmp_path / 'images/d.png').write_bytes(b'no image')
    return tmp_path / 'images'


SIZES = {'a.png': (96, 64), 'b.jpg': (64, 96), 'c.tif': (45, 33)}


@pytest.mark.parametrize('batch_size', [1, 3])
def test_a_segmentor_writes_maps_and_shares(weights, images, tmp_path, batch_size):
    left_out, found = predict_task(weights, 'seg', images, tmp_path / 'out', batch_size=batch_size)
    assert [path.name for path in left_out] == ['d.png']
    assert found['classes'] == ['background', *CLASSES]
    assert {image['file_name']: (image['width'], image['height']) for image in found['images']} == SIZES
    assert sorted(os.listdir(tmp_path / 'out')) == ['.image_demo.lock', 'maps', 'predictions.json', 'vis']
    for image in found['images']:
        mapped = Image.open(tmp_path / 'out' / image['map'])
        assert mapped.mode == 'P' and mapped.size == SIZES[image['file_name']]
        labels = np.asarray(mapped)
        assert list(image['shares']) == found['classes'] and sum(image['shares'].values()) == pytest.approx(1, abs=1e-5)
        for number, share in enumerate(image['shares'].values()):
            assert share == pytest.approx((labels == number).mean(), abs=1e-6)
        name = 'c.tif.png' if image['file_name'] == 'c.tif' else image['file_name']
        drawn = Image.open(tmp_path / 'out/vis' / name)
        assert drawn.width >= mapped.width and drawn.height > mapped.height  # the legend


def test_a_map_is_what_the_test_of_the_config_predicts(weights, images, tmp_path):
    cfg, path = weights['seg']
    predict_task(weights, 'seg', images, tmp_path / 'out')
    cfg = Config(dict(cfg, test_pipeline=cfg.test_dataloader.dataset.pipeline))
    model = init_model(cfg, str(path), device='cpu')
    expected = inference_model(model, str(images / 'b.jpg')).pred_sem_seg.data[0].numpy()
    assert (np.asarray(Image.open(tmp_path / 'out/maps/b.png')) == expected).mean() > 0.999


@pytest.mark.parametrize('batch_size', [1, 3])
def test_a_classifier_writes_the_likeliest_classes(weights, images, tmp_path, batch_size):
    left_out, found = predict_task(weights, 'cls', images, tmp_path / 'out', batch_size=batch_size)
    assert [path.name for path in left_out] == ['d.png'] and found['classes'] == list(CLASSES)
    for image in found['images']:
        scores = [entry['score'] for entry in image['top']]
        assert len(scores) == 5 and scores == sorted(scores, reverse=True) and 0.5 < sum(scores) <= 1
        assert all(entry['name'] == CLASSES[entry['label']] for entry in image['top'])
    assert {image['file_name']: (image['width'], image['height']) for image in found['images']} == SIZES
    assert sorted(os.listdir(tmp_path / 'out/vis')) == ['a.png', 'b.jpg', 'c.tif.png']


def test_two_maps_of_one_name(weights, tmp_path):
    for name in ('a.png', 'a.jpg'):
        scene(tmp_path / 'images' / name)
    with pytest.raises(UserError, match='a.jpg and .*a.png would both be drawn as .*maps/a.png'):
        predict_task(weights, 'seg', tmp_path / 'images', tmp_path / 'out')


def test_a_given_image_in_the_folder_of_maps(weights, tmp_path):
    scene(tmp_path / 'out/maps/a.png')
    with pytest.raises(UserError, match='is one of the images'):
        predict_task(weights, 'seg', tmp_path / 'out/maps', tmp_path / 'out')


@pytest.mark.parametrize('task', ['seg', 'cls'])
def test_weights_must_fit_and_be_finite(weights, images, tmp_path, task):
    cfg, path = weights[task]
    checkpoint = torch.load(path)
    last = [key for key in checkpoint['state_dict'] if key.endswith('.weight')][-1]
    for change in ('absent', 'infinite'):
        checkpoint['state_dict'][last] = torch.full_like(checkpoint['state_dict'][last], float('inf'))
        if change == 'absent':
            del checkpoint['state_dict'][last]
        torch.save(checkpoint, tmp_path / 'x.pth')
        with pytest.raises(CheckpointError):
            predict_images(cfg, str(tmp_path / 'x.pth'), find_images(images), tmp_path / 'out', device='cpu')
        checkpoint['state_dict'][last] = torch.load(path)['state_dict'][last]
    assert not (tmp_path / 'out/predictions.json').exists()


@pytest.mark.parametrize('task', ['seg', 'cls'])
def test_scores_that_are_not_finite_are_left_out(weights, images, tmp_path, task, monkeypatch):
    real = Forward.__call__

    def call(self, images):
        samples = real(self, images)
        for sample in samples:
            (sample.seg_logits.data if task == 'seg' else sample.pred_score).fill_(float('nan'))
        return samples

    monkeypatch.setattr(Forward, '__call__', call)
    left_out, found = predict_task(weights, task, images, tmp_path / 'out')
    assert len(left_out) == 4 and found['images'] == []
    assert 'not finite' in left_out[images / 'a.png'] and not (tmp_path / 'out/vis').exists()


def test_an_image_smaller_than_the_network_takes_costs_no_other(weights, images, tmp_path):
    Image.new('RGB', (20, 20)).save(images / 'a0.png')
    left_out, found = predict_task(weights, 'seg', images, tmp_path / 'out', batch_size=4)
    assert left_out[images / 'a0.png'].endswith('a0.png has 20 × 20 pixels, fewer than FasterNet takes')
    assert [image['file_name'] for image in found['images']] == ['a.png', 'b.jpg', 'c.tif']


def test_a_class_without_a_name_has_a_number(weights, images, tmp_path):
    cfg, path = weights['cls']
    torch.save(torch.load(path)['state_dict'], tmp_path / 'bare.pth')
    predict_images(cfg, str(tmp_path / 'bare.pth'), find_images(images), tmp_path / 'out', device='cpu')
    assert json.loads((tmp_path / 'out/predictions.json').read_text())['classes'] == list('012345')


def test_a_legend_fits():
    rows = [((255, 0, 0), f'a class with a long name {number}') for number in range(30)]
    for size in ((40, 30), (400, 300), (4000, 300)):
        drawn = np.asarray(add_legend(Image.new('RGB', size), rows))
        below = drawn[size[1] :]
        assert drawn.shape[1] >= size[0] and not drawn[: size[1], : size[0]].any()
        assert (below[:, -1] == 255).all() and (below[-1] == 255).all()  # no text is cut
        assert (below == [255, 0, 0]).all(2).sum() > 0
