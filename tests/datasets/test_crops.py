"""Names in a JSON never lead out of the folder that crops are written to."""

import json
import shutil

import pytest

from mmfasternet.datasets import make_crops
from mmfasternet.errors import UserError


@pytest.fixture
def spoil(shapes_root, tmp_path):
    """A copy of the tiny data set with one value of its JSON changed."""

    def run(kind, index, **changes):
        source = shutil.copytree(shapes_root, tmp_path / 'source')
        path = source / 'annotations/instances_train.json'
        content = json.loads(path.read_text())
        content[kind][index].update(changes)
        path.write_text(json.dumps(content))
        return source

    return run


@pytest.mark.parametrize(
    'name', ['../../../ESCAPED/x', '/tmp/ESCAPED', '..', '.', 'a/b', 'a\\b', 'a\0b', 'a\x1b[2K', '\ud800']
)
def test_a_class_name_that_is_a_path_is_refused(spoil, tmp_path, name):
    with pytest.raises(UserError, match='the class name .* cannot be the name of a file or a folder'):
        make_crops(spoil('categories', 0, name=name), tmp_path / 'out/crops')
    assert not list((tmp_path / 'out').iterdir()) and not list(tmp_path.rglob('*ESCAPED*'))


def test_two_classes_of_one_folder_are_refused(spoil, tmp_path):
    with pytest.raises(UserError, match="two entries have the class name 'Circle'|class name 'circle'"):
        make_crops(spoil('categories', 1, name='Circle'), tmp_path / 'crops')


def test_an_image_elsewhere_is_not_read(spoil, tmp_path):
    with pytest.raises(UserError, match='the image name .*other.png'):
        make_crops(spoil('images', 0, file_name='../../other.png'), tmp_path / 'crops')


def test_an_id_that_is_a_path_names_no_file(spoil, tmp_path):
    crops = make_crops(spoil('annotations', 0, id='../../x'), tmp_path / 'crops')
    names = sorted(path.stem for path in (crops / 'train').rglob('*.png'))
    assert names == [f'{number:06d}' for number in range(1, len(names) + 1)] and not list(tmp_path.rglob('*x.png'))


def test_a_box_outside_of_its_image_has_no_crop(spoil, tmp_path):
    source = spoil('annotations', 0, bbox=[-200, -200, 5, 5])
    entries = json.loads((source / 'annotations/instances_train.json').read_text())['annotations']
    crops = make_crops(source, tmp_path / 'crops')
    assert len(list((crops / 'train').rglob('*.png'))) == len(entries) - 1
