"""Data that is absent, or does not fit together, is one error before training starts."""

import json
import shutil

import pytest
from mmdet.datasets import CocoDataset
from mmengine.registry import RUNNERS
from PIL import Image

from mmfasternet.datasets.check import DataError, check_dataset_config, check_images
from mmfasternet.datasets.shapes import CLASSES
from mmfasternet.engine.config import load_config


@pytest.fixture
def own(shapes_root, tmp_path):
    """A copy of the tiny data set that a test may spoil."""
    return shutil.copytree(shapes_root, tmp_path / 'own')


def dataset_config(root, **changes):
    config = dict(type='CocoDataset', metainfo=dict(classes=CLASSES), data_root=str(root), pipeline=[])
    config.update(ann_file='annotations/instances_train.json', data_prefix=dict(img='train/'))
    return {**config, **changes}


def build(root, **changes) -> CocoDataset:
    config = dataset_config(root, **changes)
    config.pop('type')
    return CocoDataset(**config)


def test_complete_data_passes(own):
    check_dataset_config(dataset_config(own))
    check_images(build(own))


@pytest.mark.parametrize('wrap', [lambda leaf: dict(type='RepeatDataset', times=2, dataset=leaf), lambda leaf: leaf])
@pytest.mark.parametrize(
    'changes, lacking',
    [
        (dict(ann_file='annotations/other.json'), 'lacks annotations/other.json.'),
        (dict(data_prefix=dict(img='other/')), 'lacks other/.'),
    ],
)
def test_absent_parts_are_named(own, changes, lacking, wrap):
    with pytest.raises(DataError) as error:
        check_dataset_config(wrap(dataset_config(own, **changes)))
    assert lacking in str(error.value) and str(own) in str(error.value) and 'MMDET_DATASETS' in str(error.value)


def test_cloud_storage_is_left_to_mmengine(own):
    check_dataset_config(dataset_config('s3://bucket/coco/'))


def test_annotations_of_an_absent_image(own):
    (own / 'train/000003.png').unlink()
    with pytest.raises(DataError, match=r'names the image .*000003\.png, which does not exist'):
        check_images(build(own))


def test_annotations_of_another_size(own):
    Image.new('RGB', (64, 64)).save(own / 'train/000003.png')
    with pytest.raises(DataError, match=r'width and height \(128, 96\), but the image has \(64, 64\)'):
        check_images(build(own))


def test_classes_that_the_annotations_do_not_know(own):
    with pytest.raises(DataError, match=r"knows only 1 of the 2 classes \('circle', 'sphere'\)"):
        check_images(build(own, metainfo=dict(classes=('circle', 'sphere'))))


def test_classes_in_another_order(own):
    check_images(build(own, metainfo=dict(classes=CLASSES[1:3])))
    with pytest.raises(DataError, match=r"are in another order .*; write classes=\('triangle', 'square'\)"):
        check_images(build(own, metainfo=dict(classes=CLASSES[2:0:-1])))


def test_boxes_where_masks_are_needed(own):
    path = own / 'annotations/instances_train.json'
    content = json.loads(path.read_text())
    for annotation in content['annotations']:
        del annotation['segmentation']
    path.write_text(json.dumps(content))
    boxes = dict(type='mmdet.LoadAnnotations', with_bbox=True)
    check_images(build(own, pipeline=[boxes]))
    with pytest.raises(DataError, match='has an object without a segmentation in .*; use a detector of boxes'):
        check_images(build(own, pipeline=[dict(boxes, with_mask=True)]))


def test_data_without_objects(own, tiny_config):
    path = own / 'annotations/instances_train.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'annotations': []}))
    options = {'data_root': str(own), 'train_dataloader.dataset.filter_cfg': dict(filter_empty_gt=True)}
    runner = RUNNERS.build(load_config(tiny_config, options))
    with pytest.raises(DataError, match='leaves no image: it has 0 annotations, and none of the classes'):
        runner.train()
