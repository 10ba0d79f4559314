"""Images and semantic maps against what the annotations say of them."""

import json
import shutil

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmengine.dataset import ConcatDataset
from PIL import Image

from mmfasternet.datasets.check import DataError
from mmfasternet.datasets.pixels import check_images
from mmfasternet.datasets.shapes import CLASSES


@pytest.fixture
def own(shapes_root, tmp_path):
    """A copy of the tiny data set that a test may spoil."""
    return shutil.copytree(shapes_root, tmp_path / 'own')


def build(root, **changes):
    config = dict(metainfo=dict(classes=CLASSES), data_root=str(root), ann_file='annotations/instances_train.json')
    return CocoDataset(**config | dict(data_prefix=dict(img='train/'), pipeline=[]) | changes)


def turn(root, orientation, name='000003.png'):
    """Give an image an EXIF orientation, its pixels as they are."""
    path = root / 'train' / name
    image = Image.open(path).convert('RGB')
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, 'JPEG', exif=exif)


AS_STORED = [dict(type='LoadImageFromFile', color_type='color_ignore_orientation')]


def test_annotations_of_the_image_as_stored(own):
    turn(own, 6)
    with pytest.raises(DataError, match=r'is read with \(96, 128\): the annotations were made for the image as stored'):
        check_images(build(own))
    check_images(build(own, pipeline=AS_STORED))


def test_annotations_of_the_image_as_shown(own):
    turn(own, 6)
    path = own / 'annotations/instances_train.json'
    content = json.loads(path.read_text())
    entry = next(image for image in content['images'] if image['file_name'] == '000003.png')
    entry.update(width=96, height=128)
    path.write_text(json.dumps(content))
    check_images(build(own))
    with pytest.raises(DataError, match='were made for the image as shown. Remove color_type'):
        check_images(build(own, pipeline=AS_STORED))


def test_an_orientation_that_sizes_do_not_tell(own, monkeypatch):
    said = []
    monkeypatch.setattr('mmfasternet.datasets.pixels.print_log', lambda text, **_: said.append(text))
    turn(own, 3)
    check_images(build(own))
    assert len(said) == 1 and 'train/000003.png and 0 others of 12 images' in said[0]


def test_the_images_of_data_sets_in_a_wrapper(own):
    dataset = build(own)
    (own / 'train/000003.png').unlink()
    with pytest.raises(DataError, match='000003.png, which does not exist'):
        check_images(ConcatDataset([dataset, dataset]))


def test_a_palette_of_too_few_colours(own):
    with pytest.raises(DataError, match='the palette of the config has 2 colours for 6 classes'):
        check_images(build(own, metainfo=dict(classes=CLASSES, palette=[(0, 0, 0), (1, 1, 1)])))
    check_images(build(own, metainfo=dict(classes=CLASSES, palette='random')))


def maps(root, change, **changes):
    """A data set of semantic maps that are changed."""
    segmentors = pytest.importorskip('mmseg.datasets')
    for path in (root / 'semantic/train').iterdir():
        Image.fromarray(change(np.asarray(Image.open(path))).astype(np.uint8)).save(path)
    prefix = dict(img_path='train', seg_map_path='semantic/train')
    config = dict(metainfo=dict(classes=('background', *CLASSES)), data_root=str(root), img_suffix='.png', pipeline=[])
    return segmentors.BaseSegDataset(**config | dict(data_prefix=prefix) | changes)


@pytest.mark.parametrize(
    ('change', 'reduced', 'labels'),
    [
        (lambda labels: np.where(labels > 0, 255, 0), False, '0, 255'),
        (lambda labels: np.where(labels > 0, 255, 0), True, '255'),
        (lambda labels: labels * 0, False, '0'),
        (lambda labels: labels * 0 + 255, False, '255'),
    ],
)
def test_maps_with_nothing_to_tell_apart(own, change, reduced, labels):
    with pytest.raises(DataError, match=rf'have only the labels {labels} \(after .*: there is nothing to tell apart'):
        check_images(maps(own, change, reduce_zero_label=reduced))


def test_maps_with_two_labels(own):
    check_images(maps(own, lambda labels: labels > 0))
    dataset = maps(own, lambda labels: np.where(labels > 0, 255, 0))
    dataset.label_map = {255: 1}
    dataset.data_list = dataset.load_data_list()
    for info in dataset.data_list:
        info['label_map'] = {255: 1}
    dataset._serialize_data = dataset.serialize_data = False
    check_images(dataset)


def test_every_map_is_looked_for(own):
    dataset = maps(own, lambda labels: labels)
    (own / 'semantic/train/000012.png').unlink()
    with pytest.raises(DataError, match=r'has no semantic map .*000012\.png'):
        check_images(dataset)
