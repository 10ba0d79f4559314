"""Data that is absent, or does not fit together, is one error before training starts."""

import json
import shutil

import pytest
from mmdet.datasets import CocoDataset
from mmengine.registry import RUNNERS
from PIL import Image
from pycocotools import mask as rle

from mmfasternet.datasets import annotations
from mmfasternet.datasets.check import DataError, check_dataset_config
from mmfasternet.datasets.pixels import check_images
from mmfasternet.datasets.shapes import CLASSES
from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError


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
    with pytest.raises(
        DataError, match=r"knows only 1 of the 2 classes \('circle', 'sphere'\), and lacks \('sphere',\)"
    ):
        check_dataset_config(dataset_config(own, metainfo=dict(classes=('circle', 'sphere'))))


def test_classes_in_another_order(own):
    check_dataset_config(dataset_config(own, metainfo=dict(classes=CLASSES[1:3])))
    reverse = dataset_config(own, metainfo=dict(classes=CLASSES[2:0:-1]))
    for config in (reverse, dict(type='ConcatDataset', datasets=[dataset_config(own), reverse])):
        with pytest.raises(DataError, match=r"are in another order .*; write classes=\('triangle', 'square'\)"):
            check_dataset_config(config)


def test_boxes_where_masks_are_needed(own):
    path = own / 'annotations/instances_train.json'
    content = json.loads(path.read_text())
    for annotation in content['annotations']:
        del annotation['segmentation']
    path.write_text(json.dumps(content))
    boxes = dict(type='mmdet.LoadAnnotations', with_bbox=True)
    check_dataset_config(dataset_config(own, pipeline=[boxes]))
    with pytest.raises(DataError, match='has an object without a segmentation') as error:
        check_dataset_config(dataset_config(own, pipeline=[dict(boxes, with_mask=True)]))
    count = len(content['annotations'])
    assert 'annotation 1 in 000001.png' in str(error.value) and 'use a detector of boxes' in str(error.value)
    assert f'… and {count - 10} more of this kind' in str(error.value)
    # Of other data sets, a sample is looked at.
    with pytest.raises(DataError, match='has an object without a segmentation in .*; use a detector of boxes'):
        check_images(build(own, pipeline=[dict(boxes, with_mask=True)]))


def test_data_without_objects(own, tiny_config):
    path = own / 'annotations/instances_train.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'annotations': []}))
    options = {'data_root': str(own), 'train_dataloader.dataset.filter_cfg': dict(filter_empty_gt=True)}
    runner = RUNNERS.build(load_config(tiny_config, options))
    with pytest.raises(UserError, match='leaves no image: it has 0 annotations, and none of the classes'):
        runner.train()


INF, NAN = float('inf'), float('nan')


def encoded(counts: list[int]) -> str:
    return rle.frPyObjects(dict(size=[96, 128], counts=counts), 96, 128)['counts'].decode()


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('bbox', [5, 5, INF, 20], 'annotation 1: "bbox" must be four finite numbers, but is .*inf'),
        ('bbox', [NAN, 5, 20, 20], 'annotation 1: "bbox" must be four finite numbers, but is .*nan'),
        ('bbox', [5, 5, 20], '"bbox" must be four finite numbers'),
        ('bbox', ['5', 5, 20, 20], '"bbox" must be four finite numbers'),
        ('bbox', [5, 5, 10**400, 20], '"bbox" must be'),
        ('bbox', None, '"bbox" must be four finite numbers, but is None'),
        ('bbox', [5, 5, -20, 20], 'a box in an image of 128 × 96 pixels, but is'),
        ('bbox', [5, 5, 1e6, 20], 'a box in an image of 128 × 96 pixels'),
        ('segmentation', [[-1e9, -1e9, 1e9, 1e9, 5, 5]], 'polygons in an image of 128 × 96 pixels'),
        ('segmentation', [[NAN, 1, 2, 3, 4, 5]], 'polygons of finite numbers'),
        ('segmentation', [['a', 1, 2, 3, 4, 5]], 'polygons of finite numbers'),
        ('segmentation', 'abc', 'polygons or run lengths'),
        ('segmentation', dict(size=[96, 127], counts='x'), r'of the size \[96, 128\] of its image'),
        ('segmentation', dict(size=[96, 128], counts=[5, 10**9]), 'run lengths of all pixels'),
        ('segmentation', dict(size=[96, 128], counts=[96 * 128 + 1, -1]), 'run lengths of all pixels'),
        # pycocotools crashes, reads beyond its text, or shows what lies in the memory.
        ('segmentation', dict(size=[96, 128], counts='一'), 'run lengths of all pixels'),
        ('segmentation', dict(size=[96, 128], counts='P'), 'run lengths of all pixels'),
        ('segmentation', dict(size=[96, 128], counts=''), 'run lengths of all pixels'),
        ('segmentation', dict(size=[96, 128], counts='o' * 10**5), 'run lengths of all pixels'),
        ('area', NAN, '"area" must be a finite number, 0 or more, but is nan'),
        ('iscrowd', 'no', '"iscrowd" must be 0 or 1'),
        ('image_id', 999, '"image_id" must be an id that the file has, but is 999'),
        ('category_id', [1], '"category_id" must be an id that the file has'),
        ('image_id', '1', r'"image_id" must be an id that the file has \(it has 1\), but is \'1\''),
        ('segmentation', [[5, 5, 30, 5, 30, 30, 7]], 'polygons of x and y in turn, an even number of values'),
    ],
)
def test_impossible_values_are_named(own, key, value, message):
    path = own / 'annotations/instances_train.json'
    content = json.loads(path.read_text())
    content['annotations'][0][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f'instances_train.json: .*{message}'):
        check_dataset_config(dict(type='RepeatDataset', dataset=dataset_config(own)))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('bbox', [-3.5, 90, 140, 30]),  # across the border
        ('bbox', [5, 5, 0, 20]),  # COCO itself has a few, which mmdet leaves out
        ('segmentation', []),
        ('segmentation', [[1, 2, 3, 4]]),
        ('segmentation', [[-2, -2, 130, -2, 130, 99]]),
        ('segmentation', dict(size=[96, 128], counts=[96 * 128])),
        ('segmentation', dict(size=[96, 128], counts=encoded([0, 96 * 128]))),
        ('segmentation', dict(size=[96, 128], counts=encoded([5, 1, 90, 96, 96, 12000]))),
        ('attributes', {'categories': 5}),
    ],
)
def test_unusual_values_pass(own, key, value):
    path = own / 'annotations/instances_train.json'
    content = json.loads(path.read_text())
    content['annotations'][-1][key] = value
    path.write_text(json.dumps(content))
    check_dataset_config(dataset_config(own))
    check_images(build(own))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"images": [', 'is not JSON, or was cut off'),
        ('[' * 100_000, 'is not JSON'),
        ('[]', "is not in COCO's format"),
        ('{"images": [], "annotations": {}, "categories": []}', "is not in COCO's format"),
        ('{"images": [7], "annotations": [], "categories": []}', 'image 0 of the list must be an object'),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', '"name" must be a text, but is missing'),
        (
            '{"images": [{"id": 1, "file_name": "a", "width": "8", "height": 1}], "annotations": [], "categories": []}',
            '"width" must be a number of pixels',
        ),
    ],
)
def test_a_file_of_another_format(own, text, message):
    (own / 'annotations/instances_train.json').write_text(text)
    with pytest.raises(DataError, match=message):
        check_dataset_config(dataset_config(own))


def test_json_of_other_data_sets_passes(own):
    """Such as mmpretrain's, or the captions and panoptic segments of COCO."""
    path = own / 'annotations/instances_train.json'
    captions = dict(images=[dict(id=1, file_name='a')], annotations=[dict(id=1, caption='x')], categories=[])
    for content in (dict(metainfo={}, data_list=[]), [], captions):
        path.write_text(json.dumps(content))
        check_dataset_config(dataset_config(own, type='OtherDataset'))


def test_a_file_is_parsed_once(own, monkeypatch):
    read = []
    real = json.loads
    monkeypatch.setattr(annotations.json, 'loads', lambda data: (read.append(data), real(data))[1])
    check_dataset_config(dataset_config(own))
    check_dataset_config(dict(type='ConcatDataset', datasets=[dataset_config(own)] * 2))
    assert len(read) == 1


def test_images_beyond_the_limit_of_pil(own, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    check_images(build(own))


def test_an_image_that_is_cut_off_in_its_header(own):
    (own / 'train/000001.png').write_bytes(b'\x89PNG')
    with pytest.raises(UserError, match='000001.png cannot be read as an image'):
        check_images(build(own))
