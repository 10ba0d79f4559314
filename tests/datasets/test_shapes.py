import json

import cv2
import numpy as np
import pytest
import rich
from mmengine.config import Config
from pycocotools.coco import COCO

from mmfasternet.datasets import CLASSES, draw_scene, make_shapes, semantic_map, statistics, statistics_table
from mmfasternet.datasets import shapes as module
from mmfasternet.errors import UserError

CONFIG = 'configs/demo/mask_rcnn_fasternet_t0_shapes.py'
SMALL = dict(num_train=6, num_val=4, size=(96, 128))


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob('*') if path.is_file()}


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return make_shapes(tmp_path_factory.mktemp('data') / 'shapes', **SMALL)


def test_same_seed_same_bytes(small, tmp_path):
    assert contents(make_shapes(tmp_path / 'again', **SMALL)) == contents(small)


@pytest.mark.parametrize('cores', [1, 5])
def test_same_bytes_on_any_number_of_cores(small, tmp_path, monkeypatch, cores):
    monkeypatch.setattr(module, 'usable_cores', lambda: cores)
    done = []
    assert contents(make_shapes(tmp_path / 'again', **SMALL, on_image=done.append)) == contents(small)
    assert done == list(range(1, 11))


def test_another_seed_or_split_has_other_images(small, tmp_path):
    other = make_shapes(tmp_path / 'other', **SMALL, seed=1)
    images = [data for root in (small, other) for name, data in contents(root).items() if name.startswith(('tr', 'va'))]
    assert len(images) == len(set(images)) == 20


def test_an_image_does_not_depend_on_their_number(small, tmp_path):
    fewer = make_shapes(tmp_path / 'fewer', **dict(SMALL, num_train=2, num_val=1))
    images = {name: data for name, data in contents(fewer).items() if name.endswith('.png')}
    assert len(images) == 6 and images.items() <= contents(small).items()


@pytest.mark.parametrize('split', ['train', 'val'])
def test_boxes_areas_masks_and_maps_agree_to_the_pixel(small, split):
    coco = COCO(small / f'annotations/instances_{split}.json')
    assert [category['name'] for category in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert coco.getCatIds() == [1, 2, 3, 4, 5, 6]
    assert coco.dataset['info'] and coco.dataset['licenses']
    for image in coco.loadImgs(coco.getImgIds()):
        picture = cv2.imread(str(small / split / image['file_name']))
        classes = cv2.imread(str(small / 'semantic' / split / image['file_name']), cv2.IMREAD_UNCHANGED)
        assert picture.shape == (image['height'], image['width'], 3) == (96, 128, 3)
        assert classes.shape == (96, 128) and classes.dtype == np.uint8
        covered = np.zeros((96, 128), int)
        for annotation in coco.loadAnns(coco.getAnnIds(image['id'])):
            mask = coco.annToMask(annotation).astype(bool)
            (top, left), (bottom, right) = np.argwhere(mask).min(0), np.argwhere(mask).max(0) + 1
            assert annotation['bbox'] == [left, top, right - left, bottom - top]
            assert annotation['area'] == mask.sum() >= module._MIN_VISIBLE
            assert annotation['iscrowd'] == 0
            assert (classes[mask] == annotation['category_id']).all()
            covered += mask
        assert covered.max() == 1
        assert ((covered == 1) == (classes > 0)).all()


def test_what_hides_and_what_is_hidden():
    for seed in range(20):
        image, instances = draw_scene(np.random.default_rng(seed), difficulty=1.0)
        assert image.dtype == np.uint8 and image.shape == (192, 256, 3)
        assert 2 <= len(instances) <= 8
        for index, instance in enumerate(instances):
            above = np.any([other.full for other in instances[index + 1 :]], 0) if instances[index + 1 :] else False
            assert (instance.visible == instance.full & ~np.asarray(above)).all()
            assert instance.hidden <= 0.8


@pytest.mark.parametrize('label', range(len(CLASSES)))
def test_a_shape_is_drawn_as_on_the_complete_image(label):
    """Only the rectangle around it is drawn, wherever the border cuts it."""
    rng = np.random.default_rng(label)
    for _ in range(40):
        outlines = module._outline(label, rng.uniform(10, 90), rng.uniform(-1, 1), rng.uniform(-40, 160, 2))
        fine = np.zeros((4 * 96, 4 * 128), np.uint8)
        cv2.fillPoly(fine, [np.round(outline[:, ::-1] * 4 - 0.5).astype(np.int32) for outline in outlines], 255)
        expected = cv2.resize(fine, (128, 96), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        assert np.array_equal(module._coverage(outlines, (96, 128)), expected)


@pytest.mark.parametrize('label', range(len(CLASSES)))
def test_area_is_that_of_a_square_of_the_size_whatever_the_class(label):
    outlines = module._outline(label, 60.0, 0.3 * label, np.array([96.0, 128.0]))
    coverage = module._coverage(outlines, (192, 256))
    assert coverage.sum() == pytest.approx(60**2, rel=0.03)
    if CLASSES[label] != 'triangle':  # its corners have their mean in the centre as well, but not its pixels
        assert np.argwhere(coverage >= 0.5).mean(0) == pytest.approx([95.5, 127.5], abs=0.5)


def test_difficulty_hides_more():
    def occluded(difficulty):
        scenes = [draw_scene(np.random.default_rng(seed), difficulty=difficulty)[1] for seed in range(30)]
        return np.mean([instance.hidden >= 0.05 for scene in scenes for instance in scene])

    assert occluded(0) == 0 < occluded(0.5) < occluded(1)


def test_semantic_map_shows_the_topmost():
    full = np.ones((2, 2), bool)
    part = np.array([[True, False], [False, False]])
    instances = [module.Instance(4, full, full & ~part), module.Instance(0, part, part)]
    assert semantic_map(instances, (2, 2)).tolist() == [[1, 5], [5, 5]]


def test_statistics_of_the_demo():
    """What the demo promises: checked on scenes of its own seed and difficulty, with no file written."""
    config = Config.fromfile(CONFIG)
    shapes = config.shapes
    assert shapes.num_train >= 400 and shapes.num_val >= 100
    stream = np.random.SeedSequence(shapes.seed, spawn_key=(1,))
    scenes = [
        draw_scene(np.random.default_rng(seed), tuple(shapes.size), shapes.difficulty)[1]
        for seed in stream.spawn(shapes.num_val)
    ]
    numbers = [len(scene) for scene in scenes]
    instances = [instance for scene in scenes for instance in scene]
    areas = np.array([instance.visible.sum() for instance in instances])
    assert min(numbers) == 2 and max(numbers) == 8
    assert {instance.label for instance in instances} == set(range(len(config.classes)))
    assert len(CLASSES) >= 5 and tuple(config.classes) == CLASSES
    assert np.mean([instance.hidden >= 0.05 for instance in instances]) >= 0.25
    assert np.mean(areas < 32**2) >= 0.20
    assert np.mean(areas >= 96**2) > 0


def test_statistics(small):
    stats = statistics(small / 'annotations/instances_train.json')
    coco = json.loads((small / 'annotations/instances_train.json').read_text())
    assert stats['images'] == 6
    assert stats['objects'] == len(coco['annotations']) == sum(stats['per_class'].values())
    assert stats['small'] + stats['medium'] + stats['large'] == pytest.approx(1)
    assert stats['occluded'] == np.mean([annotation['hidden'] >= 0.05 for annotation in coco['annotations']])
    assert statistics_table(small).row_count == 13


def test_reused_when_complete_and_replaced_for_other_parameters(tmp_path):
    root = make_shapes(tmp_path / 'shapes', **SMALL)
    before, born = contents(root), root.stat().st_ino
    assert make_shapes(root, **SMALL).stat().st_ino == born
    make_shapes(root, **SMALL, difficulty=0.6)
    assert contents(root).keys() == before.keys() and contents(root) != before
    assert [path.name for path in tmp_path.iterdir()] == ['shapes']


@pytest.mark.parametrize(
    'change',
    [
        lambda root: (root / 'train/notes.txt').write_text('precious'),
        lambda root: (root / 'train/shapes.json').write_text('precious'),
        lambda root: (root / 'annotations/instances_val.json').write_text('corrected by hand'),
        lambda root: (root / 'semantic/val/000002.png').unlink(),
        lambda root: (root / 'mine').mkdir(),
        lambda root: (root / 'mine').symlink_to(root.parent),
        lambda root: (root / 'mine').symlink_to('nowhere'),
    ],
)
def test_nothing_is_deleted_that_was_not_made_here(tmp_path, change):
    root = make_shapes(tmp_path / 'shapes', **SMALL)
    change(root)
    before = contents(root)
    for parameters in (SMALL, dict(SMALL, seed=1)):
        with pytest.raises(UserError, match='has changed since it was made.* or choose another'):
            make_shapes(root, **parameters)
    assert contents(root) == before


def test_nothing_half_written(tmp_path, monkeypatch):
    root = make_shapes(tmp_path / 'shapes', **SMALL)
    before = contents(root)

    def fail(root):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, '_checksum', fail)
    with pytest.raises(KeyboardInterrupt):
        make_shapes(tmp_path / 'new', **SMALL)
    with pytest.raises(KeyboardInterrupt):
        make_shapes(root, **SMALL, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ['shapes']
    assert contents(root) == before


def test_an_interrupt_draws_no_further_images(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(module, '_write_png', lambda path, image: drawn.append(path))

    def interrupt(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_shapes(tmp_path / 'shapes', 1000, 1, (96, 128), on_image=interrupt)
    assert len(drawn) < 1000 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(num_train=0), 'num_train must be at least 1, but got 0'),
        (dict(num_val=-1), 'num_val must be at least 1, but got -1'),
        (dict(seed=-1), 'seed must be at least 0, but got -1'),
        (dict(size=(64, 256)), 'size must be .* at least 96 pixels'),
        (dict(size=(192, 256, 3)), 'size must be a height and a width'),
        (dict(difficulty=1.5), 'difficulty must be between 0 and 1, but got 1.5'),
        (dict(difficulty=float('nan')), 'difficulty must be between 0 and 1'),
    ],
)
def test_bad_parameters(tmp_path, wrong, message):
    with pytest.raises(UserError, match=message):
        make_shapes(tmp_path / 'shapes', **wrong)
    assert not list(tmp_path.iterdir())


def test_a_broken_manifest_is_left_alone(tmp_path):
    (tmp_path / 'shapes.json').write_text('{"param')
    with pytest.raises(UserError, match='was not made here'):
        make_shapes(tmp_path, **SMALL)


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / 'mine.txt').write_text('precious')
    with pytest.raises(UserError, match='was not made here'):
        make_shapes(tmp_path, **SMALL)
    with pytest.raises(UserError, match='was not made here'):
        make_shapes(tmp_path / 'mine.txt', **SMALL)
    assert contents(tmp_path) == {'mine.txt': b'precious'}


def test_unwritable_root(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write .*file'):
        make_shapes(tmp_path / 'file' / 'shapes', **SMALL)


def test_a_folder_whose_name_looks_like_markup(tmp_path, capsys):
    rich.print(statistics_table(make_shapes(tmp_path / 'runs[' / 'x]', **SMALL)))
    assert 'x]' in capsys.readouterr().out.replace('\n', '')
