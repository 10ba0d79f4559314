"""A config for your own data: what follows from the objects, and that it trains."""

import json
import re
from pathlib import Path

import pytest
from helpers.project import ROOT, succeed

from mmfasternet.datasets.recipe import Recipe, plan_training, write_config
from mmfasternet.engine.build import build_model
from mmfasternet.errors import UserError

CONFIGS = ROOT / 'configs'


@pytest.fixture
def write(tmp_path):
    """Write a COCO file of images of 640 × 480 pixels with objects of (class, width, height, whether it has a mask)."""

    def write(*objects: tuple, images: int = 8) -> Path:
        annotations = [
            dict(
                id=number,
                image_id=1 + number % images,
                category_id=kind,
                bbox=[5, 5, width, height],
                area=width * height,
                iscrowd=0,
                segmentation=[[5, 5, 5 + width, 5, 5, 5 + height]] if has_mask else [],
            )
            for number, (kind, width, height, has_mask) in enumerate(objects, 1)
        ]
        content = dict(
            images=[
                dict(id=number, file_name=f'{number}.png', width=640, height=480) for number in range(1, images + 1)
            ],
            annotations=annotations,
            categories=[dict(id=1, name='cat'), dict(id=2, name="a 'dog'")],
        )
        path = tmp_path / 'train.json'
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.mark.parametrize('masks, detector', [([True] * 8, 'mask_rcnn'), ([True] * 7 + [False], 'retinanet')])
def test_masks_are_trained_where_every_object_has_one(write, masks, detector):
    path = write(*((1, 60, 60, has_mask) for has_mask in masks))
    assert plan_training(path).detector == detector


def test_a_detector_of_masks_without_masks_is_an_error(write):
    with pytest.raises(UserError, match='without a mask, which Mask R-CNN needs; take retinanet'):
        plan_training(write((1, 60, 60, False)), 'mask_rcnn')


def test_nothing_to_learn_from_is_an_error(write):
    with pytest.raises(UserError, match='train.json has no object to learn from'):
        plan_training(write())


@pytest.mark.parametrize('side, longer', [(160, 256), (40, 256), (32, 320), (24, 448), (10, 512)])
def test_small_objects_have_large_images(write, side, longer):
    """16 pixels for the smaller objects of the smallest class, as far as the limits allow."""
    recipe = plan_training(write(*[(1, 200, 200, False)] * 20, *[(2, side, side, False)] * 4))
    assert recipe.image_size == (longer, longer * 3 // 4)


def test_anchors_are_as_long_as_the_objects(write):
    assert plan_training(write(*[(1, 60, 60, False)] * 9)).ratios == (1.0,)
    assert plan_training(write(*[(1, 120, 40, False)] * 9)).ratios == (0.5, 1.0, 2.0)


@pytest.mark.parametrize('images, epochs', [(8, 300), (200, 40), (100_000, 4)])
def test_few_images_are_seen_more_often(write, images, epochs):
    recipe = plan_training(write(*[(1, 60, 60, False)] * images, images=images))
    assert (recipe.num_images, recipe.max_epochs) == (images, epochs)


@pytest.mark.parametrize('detector, heads', [('mask_rcnn', 2), ('retinanet', 1)])
def test_a_written_config_is_a_model_of_the_classes(tmp_path, detector, heads):
    classes = ('cat', "a 'dog'", 'c')
    recipe = Recipe(detector, classes, (320, 256), (20.0, 700.0), (0.5, 1.0), num_images=9, max_epochs=7)
    path = write_config(tmp_path / "it's.py", recipe, CONFIGS, tmp_path, tmp_path / 'images', arch='t1')
    cfg, model = build_model(path)
    assert cfg.train_dataloader.dataset.metainfo.classes == classes
    assert cfg.train_dataloader.dataset.data_prefix.img == f'{tmp_path}/images/'
    assert cfg.val_evaluator.ann_file == f'{tmp_path}/annotations/instances_val.json'
    assert cfg.train_dataloader.dataset.pipeline[2].scale == cfg.val_dataloader.dataset.pipeline[2].scale == (320, 256)
    assert cfg.train_dataloader.dataset.pipeline[1].with_mask is (detector == 'mask_rcnn')
    assert cfg.train_cfg.max_epochs == 7
    parts = [module for name, module in model.named_modules() if re.fullmatch(r'(.*\.)?(bbox|mask)_head', name)]
    assert [part.num_classes for part in parts] == [3] * heads


@pytest.mark.slow
@pytest.mark.parametrize('detector', ['mask_rcnn', 'retinanet'])
def test_an_export_becomes_a_training(shapes_root, tmp_path, detector):
    out = tmp_path / 'out'
    said = succeed(ROOT / 'tools/own_data.py', shapes_root, '--out', out, '--detector', detector).stdout
    command = re.search(r'mmfasternet (train .*)$', said.strip())[1].split()
    options = ('--work-dir', tmp_path / 'work', '--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1')
    trained = succeed(ROOT / 'mmfasternet_cli.py', *command, *options)
    assert 'Epoch(val) [1]' in trained.stdout + trained.stderr
    assert (tmp_path / 'work/epoch_1.pth').is_file()
    edited = out / 'config.py'
    edited.write_text(edited.read_text() + '# mine\n')
    again = succeed(ROOT / 'tools/own_data.py', shapes_root, '--out', out)
    assert 'stays as it is' in again.stdout and edited.read_text().endswith('# mine\n')
