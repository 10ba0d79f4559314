"""A classifier's folders of images against its classes."""

import pytest
from mmengine.registry import init_default_scope

from mmfasternet.datasets.check import DataError, check_data

NAMES = ('circle', 'cross', 'ring')


@pytest.fixture
def root(tmp_path):
    for split in ('train', 'val'):
        for name in NAMES:
            (tmp_path / split / name).mkdir(parents=True)
    return tmp_path


def check(root, classes=None, kind='CustomDataset', **changes):
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpretrain')
    config = dict(type=kind, data_root=str(root), pipeline=[], **changes)
    if classes:
        config['metainfo'] = dict(classes=classes)
    check_data([dict(config, data_prefix='train'), dict(config, data_prefix=dict(img_path='val'))], None, root)


@pytest.mark.parametrize('classes', [None, NAMES, ('Circle', 'Cross', 'Ring'), ('round', 'plus', 'hollow')])
def test_folders_that_fit(root, classes):
    check(root, classes)


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (
            ('ring', 'cross', 'circle'),
            r"in another order than the folders .*; write classes=\('circle', 'cross', 'ring'\)",
        ),
        (('Ring', 'Cross', 'Circle'), 'in another order than the folders'),
        (('circle', 'cross', 'zebra'), 'are not the folders'),
    ],
)
def test_classes_that_do_not_fit(root, classes, message):
    with pytest.raises(DataError, match=message):
        check(root, classes)


@pytest.mark.parametrize('classes', [None, NAMES])
def test_another_folder_in_one_of_the_splits(root, classes):
    (root / 'val/circle').rename(root / 'val/zebra')
    with pytest.raises(
        DataError, match='val has other folders of classes .*train: it lacks circle and has zebra besides'
    ):
        check(root, classes)


def test_a_hidden_folder_is_no_class(root):
    for split in ('train', 'val'):
        (root / split / '.ipynb_checkpoints').mkdir()
    with pytest.raises(DataError, match=r'has the folder \.ipynb_checkpoints, which would be taken for a class'):
        check(root)


def test_lists_of_images_are_not_read_from_folders(root):
    (root / 'val/circle').rmdir()
    (root / 'list.txt').touch()
    check(root, ann_file='list.txt')
