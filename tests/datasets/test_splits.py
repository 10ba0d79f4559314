"""Copies of a scene stay together, and a split is balanced and repeatable."""

import random
from collections import Counter
from pathlib import PurePath

import numpy as np
import pytest
from helpers.exports import write_image
from PIL import Image, ImageEnhance

from mmfasternet.datasets.formats.facts import look_at
from mmfasternet.datasets.splits import choose_val, find_scenes, shared_scenes


def scenes_of(*paths) -> list[int]:
    return find_scenes([PurePath(path.name) for path in paths], [look_at(path).fingerprint for path in paths])


COPIES = {
    'smaller': lambda image: image.resize((image.width // 2, image.height // 2)),
    'larger': lambda image: image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC),
    'brighter': lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    'gray': lambda image: image.convert('L'),
    'the same': lambda image: image,
}


@pytest.mark.parametrize('change', COPIES.values(), ids=COPIES)
def test_copies_are_one_scene(tmp_path, change):
    first, other = write_image(tmp_path / 'a.png', (320, 240)), write_image(tmp_path / 'b.png', (320, 240))
    change(Image.open(first)).save(tmp_path / 'c.jpg', quality=50)
    assert scenes_of(first, other, tmp_path / 'c.jpg') == [0, 1, 0]


def test_blank_images_are_no_copies_of_each_other(tmp_path):
    for name, value in (('a.png', 0), ('b.png', 0), ('c.png', 255)):
        Image.new('L', (64, 48), value).save(tmp_path / name)
    assert scenes_of(*sorted(tmp_path.iterdir())) == [0, 1, 2]


def test_roboflow_versions_are_one_scene():
    names = ['train/a_jpg.rf.0a1.jpg', 'b_jpg.rf.0a1.jpg', 'valid/a_jpg.rf.9.jpg', 'a_jpg.jpg']
    assert find_scenes([PurePath(name) for name in names], [None] * 4) == [0, 1, 0, 3]


def test_more_images_than_are_compared_at_once():
    random_bits = np.random.default_rng(0).integers(0, 2, (1300, 256)).astype(bool)
    bits = [*random_bits, *random_bits[::100]]
    scenes = find_scenes([PurePath(f'{number}.png') for number in range(len(bits))], bits)
    assert scenes == [*range(1300), *range(0, 1300, 100)]


def test_shared_scenes_count_splits():
    assert shared_scenes([0, 0, 1, 1, 2, 2], ['train', 'train', 'train', 'test', 'val', None]) == {1: [2, 3]}


def made_up(seed: int = 0) -> tuple[list[int], list[list[str]]]:
    """300 images of 200 scenes; one class of ten is rare."""
    draw = random.Random(seed)
    scenes = [number if number < 200 else draw.randrange(200) for number in range(300)]
    labels = [
        [draw.choice('abcdefghi') for _ in range(draw.randrange(4))] + ['j'] * (number % 30 == 0)
        for number in range(300)
    ]
    return scenes, labels


@pytest.mark.parametrize('share', [0.1, 0.2, 0.5])
def test_scenes_stay_together_and_classes_are_balanced(share):
    scenes, labels = made_up()
    chosen = choose_val(scenes, labels, share, seed=0)
    assert not {scenes[place] for place in chosen} & {scenes[place] for place in range(300) if place not in chosen}
    assert len(chosen) == pytest.approx(300 * share, abs=12)
    total = Counter(label for held in labels for label in held)
    held = Counter(label for place in chosen for label in labels[place])
    for label in 'abcdefghij':
        assert held[label] / total[label] == pytest.approx(share, abs=0.1)


def test_the_same_seed_chooses_the_same_images():
    scenes, labels = made_up()
    first = choose_val(scenes, labels, 0.2, seed=1)
    assert choose_val(scenes, labels, 0.2, seed=1) == first != choose_val(scenes, labels, 0.2, seed=2)


@pytest.mark.parametrize('share', [0.01, 0.99])
def test_both_sides_have_a_scene(share):
    assert 0 < len(choose_val([0, 0, 1, 2], [['a']] * 4, share, seed=0)) < 4
    assert choose_val([0, 0], [['a']] * 2, share, seed=0) == set()
