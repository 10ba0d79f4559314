"""An exported file predicts what image_demo does with its config and checkpoint, from image to JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.complete_models import build_small, write_small
from helpers.project import EXPORTS
from PIL import Image
from pycocotools import mask as coco_mask

if not EXPORTS:
    pytest.skip('the export is tested with the default package set alone', allow_module_level=True)

import skimage

from mmfasternet.datasets import find_images
from mmfasternet.deploy.export import export_onnx
from mmfasternet.engine.config import load_config
from mmfasternet.engine.inference import predict_images
from mmfasternet.predictions.onnx_run import predict_with_file

CLASSES = ('cat', 'dog', 'cup', 'hat', 'sky', 'sea', 'sun')
PALETTE = [[10 * number, 200, 255 - number] for number in range(7)]
RESIZE = dict(type='Resize', scale=(160, 128), keep_ratio=True)
PACK = dict(
    mmdet=dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    mmseg=dict(type='PackSegInputs'),
)


def both(head: str, tmp_path: Path, resize: list[dict] | None = None, **options) -> tuple[dict, dict]:
    """What image_demo and the file write for three photographs, the second of them turned by its EXIF data."""
    config, checkpoint = write_small(head, tmp_path / 'small.py'), tmp_path / 'epoch_1.pth'
    state_dict = build_small(config).state_dict()
    classes = CLASSES[:5] if head != 'FasterNetClsHead' else CLASSES
    meta = dict(dataset_meta=dict(classes=classes, palette=PALETTE[: len(classes)]))
    torch.save(dict(state_dict=state_dict, meta=meta), checkpoint)
    cfg = load_config(config)
    if resize is not None:
        steps = [dict(type='LoadImageFromFile'), *resize, PACK[cfg.default_scope]]
        config.write_text(f'{config.read_text()}test_dataloader = dict(dataset=dict(pipeline={steps!r}))\n')
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / 'images').mkdir()
    for name, photo in (('a.png', 'chelsea'), ('b.jpg', 'coffee'), ('c.png', 'rocket')):
        image = Image.fromarray(getattr(skimage.data, photo)()).resize((200, 160))
        image.save(tmp_path / 'images' / name, **(dict(exif=exif) if name == 'b.jpg' else {}))
    images = find_images(tmp_path / 'images')
    file = export_onnx(config, tmp_path / 'a.onnx', checkpoint=str(checkpoint), **options)
    assert predict_images(load_config(config), str(checkpoint), images, tmp_path / 'demo', device='cpu') == {}
    assert predict_with_file(file.path, tmp_path / 'images', tmp_path / 'file') == (3, {})
    return tuple(json.loads((tmp_path / folder / 'predictions.json').read_text()) for folder in ('demo', 'file'))


def assert_same_objects(expected: dict, found: dict, exact_masks: bool = True) -> None:
    assert found['images'] == expected['images'] and found['categories'] == expected['categories']
    rows = [
        sorted(coco['annotations'], key=lambda entry: (entry['image_id'], -entry['score']))
        for coco in (expected, found)
    ]
    assert len(rows[0]) > 60 and len({entry['image_id'] for entry in rows[0]}) == 3
    for exact, ours in zip(*rows, strict=True):
        assert (ours['image_id'], ours['category_id']) == (exact['image_id'], exact['category_id'])
        assert ours['score'] == pytest.approx(exact['score'], abs=1e-4)
        np.testing.assert_allclose(ours['bbox'], exact['bbox'], atol=0.02)
        assert ours.keys() == exact.keys()
        if 'segmentation' in exact:
            wrong = (coco_mask.decode(ours['segmentation']) != coco_mask.decode(exact['segmentation'])).sum()
            assert wrong <= 2 + (0.002 if exact_masks else 0.1) * exact['area']


def test_a_classifier(tmp_path):
    """With the config's own steps: its shorter edge by Pillow, and a crop; also several images at once."""
    expected, found = both('FasterNetClsHead', tmp_path, batch='dynamic')
    assert found['classes'] == expected['classes'] == list(CLASSES)
    for exact, ours in zip(expected['images'], found['images'], strict=True):
        assert [entry['name'] for entry in ours['top']] == [entry['name'] for entry in exact['top']]
        scores = [[entry['score'] for entry in image['top']] for image in (ours, exact)]
        assert scores[0] == pytest.approx(scores[1], abs=2e-6)
        assert {**ours, 'top': None} == {**exact, 'top': None}


@pytest.mark.slow
def test_a_detector_that_resizes_its_images(tmp_path):
    expected, found = both('RetinaHead', tmp_path, [RESIZE])
    assert_same_objects(expected, found)


@pytest.mark.slow
def test_small_masks_of_resized_images(tmp_path):
    assert_same_objects(*both('Mask R-CNN', tmp_path, [RESIZE], masks='small'))


@pytest.mark.exports
def test_full_masks(tmp_path):
    """Those of images that are not resized are the same; the others are stretched, and differ at their borders."""
    assert_same_objects(*both('CascadeRoIHead', tmp_path, [dict(type='Resize', scale_factor=1.0)]))


@pytest.mark.parametrize('resize, same', [([], 0.9999), pytest.param([RESIZE], 0.97, marks=pytest.mark.slow)])
def test_a_segmentor(resize, same, tmp_path):
    """A map is stretched where an image was resized, and mmseg stretches its scores."""
    expected, found = both('FPNHead', tmp_path, resize)
    assert found['classes'] == expected['classes'] == list(CLASSES[:5])
    for exact, ours in zip(expected['images'], found['images'], strict=True):
        assert {**ours, 'shares': None} == {**exact, 'shares': None}
        maps = [Image.open(tmp_path / folder / exact['map']) for folder in ('demo', 'file')]
        assert maps[0].getpalette() == maps[1].getpalette() and len(np.unique(maps[0])) > 1
        assert (np.asarray(maps[0]) == np.asarray(maps[1])).mean() >= same
