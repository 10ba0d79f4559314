"""The report of a user's data: its counts, what it advises, which objects it shows, and its file."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.exports import write_image
from pycocotools import mask as coco_mask

from mmfasternet.datasets.formats import Notes, Source, SourceImage, SourceObject
from mmfasternet.datasets.recipe import Recipe
from mmfasternet.errors import UserError
from mmfasternet.reports.data.advice import advise
from mmfasternet.reports.data.copies import show_copies
from mmfasternet.reports.data.counts import count_classes, count_images, count_sizes, describe_sizes
from mmfasternet.reports.data.measures import measure
from mmfasternet.reports.data.objects import choose_objects, show_image, show_object
from mmfasternet.reports.data.report import write_data_report
from mmfasternet.reports.data.views import show_classes
from mmfasternet.reports.outlines import COLOURS
from mmfasternet.reports.page import Bars, Bullets, Table

WIDTH, HEIGHT = 640, 480
RECIPE = Recipe('retinanet', 'scratch', ('cat', 'dog'), (320, 240), (10.0, 90.0), (1.0,), num_images=9, max_epochs=7)


def thing(label: str = 'cat', x=100, y=100, width=40, height=40, segmentation=()) -> SourceObject:
    return SourceObject(label, [x, y, width, height], width * height, segmentation or [], False)


def images(*objects: list[SourceObject], split: str = 'train', scene: int | None = None, **size) -> list[SourceImage]:
    width, height = size.get('width', WIDTH), size.get('height', HEIGHT)
    return [
        SourceImage(Path(f'{split}{place}.png'), width, height, split, list(held), None, scene)
        for place, held in enumerate(objects)
    ]


def source(*parts: list[SourceImage], root: Path = Path('nowhere'), classes: tuple = ('cat', 'dog')) -> Source:
    return Source('coco', root, list(classes), [image for part in parts for image in part], Notes())


def facts(*parts: list[SourceImage], classes: tuple = ('cat', 'dog')) -> tuple:
    made = source(*parts, classes=classes)
    return made, measure(made, RECIPE.image_size)


def advice(*parts: list[SourceImage], **options) -> str:
    return '\n'.join(advise(*facts(*parts, **options), RECIPE))


# As many as nothing is said of.
PLENTY = images(*[[thing(), thing('dog', x=300)]] * 60), images(*[[thing(), thing('dog', x=300)]] * 10, split='val')


@pytest.fixture
def drawn(tmp_path):
    """A source of three images that can be opened, the third of a polygon and run lengths."""
    runs = np.zeros((HEIGHT, WIDTH), np.uint8)
    runs[200:240, 300:380] = 1
    encoded = coco_mask.encode(np.asfortranarray(runs))
    encoded['counts'] = encoded['counts'].decode()
    held = [
        [thing(), thing(x=120), thing('dog', x=500, y=400)],
        [thing(width=10, height=10), thing('dog', width=600, height=300, x=0)],
        [thing('dog', 0, 0, 80, 60, [[0, 0, 80, 0, 80, 60]]), thing('dog', 300, 200, 80, 40, encoded)],
    ]
    made = images(*held)
    for image in made:
        write_image(tmp_path / image.path, (WIDTH, HEIGHT))
    return source(made, root=tmp_path)


# Counts.


def test_objects_of_each_class_and_split():
    bars, table = count_classes(
        *facts(
            images([thing(width=20, height=80), thing()], [thing('dog', segmentation=[[0, 0, 9, 0, 9, 9]])], []),
            images([thing(width=80, height=80)], split='test'),
            classes=('dog', 'cat'),
        )
    )
    assert bars == Bars(['train', 'test'], [('cat', [2, 1]), ('dog', [1, 0])], 'Objects of each class')
    assert table.head == ['class', 'in train', 'in test', 'images', 'with a mask', 'median size (px)']
    assert table.rows == [('cat', 2, 1, 2, 0, 20.0), ('dog', 1, 0, 1, 1, 20.0)]


def test_a_class_without_objects_is_counted():
    bars, table = count_classes(*facts(images([thing()])))
    assert bars.rows == [('cat', [1]), ('dog', [0])] and table.rows[1] == ('dog', 0, 0, 0, None)


def test_many_classes_are_cut_and_said():
    names = [f'class {number}' for number in range(300)]
    bars, table = count_classes(*facts(images([thing(name) for name in names]), classes=names))
    assert len(bars.rows) == 40 and bars.caption.endswith('the first 40 of 300')
    assert len(table.rows) == 200 and 'the first 200 of 300' in table.caption


def test_sizes_are_those_after_resizing():
    _, measured = facts(images([thing(width=side, height=side) for side in (10, 60, 66, 190, 194, 400)]))
    text, bars, table, ratios = count_sizes(measured, RECIPE)
    assert bars.rows == [
        ('4 – 8', [1, 0, 0]),
        *((label, [0, 0, 0]) for label in ('8 – 12', '12 – 16', '16 – 24')),
        ('24 – 32', [1, 0, 0]),
        ('32 – 48', [0, 1, 0]),
        ('48 – 64', [0, 0, 0]),
        ('64 – 96', [0, 1, 0]),
        ('96 – 128', [0, 0, 1]),
        *((label, [0, 0, 0]) for label in ('128 – 192',)),
        ('192 – 256', [0, 0, 1]),
    ]
    # COCO's AP takes objects as they are.
    assert [row[1::2] for row in table.rows] == [(2, 1), (2, 2), (2, 3)]
    assert ratios.rows == [('4:5 – 5:4', [6])]
    assert 'half of the objects have 64 pixels or more there, and 17% have fewer than 8.' in text
    assert describe_sizes(measured, RECIPE) == (
        'sizes: after resizing to 320 × 240, the median is 64 pixels; 33% are small (below 32), 33% medium, '
        '33% large (from 96)'
    )


def test_images_are_counted_by_objects_size_and_shape():
    _, measured = facts(
        images([], [thing()] * 4, [thing()] * 120), images([thing()], width=200, height=600, split='val')
    )
    bars, table, ratios = count_images(measured, RECIPE)
    assert bars.series == ['train', 'val']
    assert dict(bars.rows) == {
        **{label: [0, 0] for label in ('2', '5 – 9', '10 – 19', '20 – 49', '50 – 99')},
        **{'0': [1, 0], '1': [0, 1], '3 – 4': [1, 0], '100 and more': [1, 0]},
    }
    assert table.rows == [('640 × 480', 3, '320 × 240', '50%'), ('200 × 600', 1, '107 × 320', '53%')]
    assert ratios.rows[0] == ('1:3 – 1:2', [1]) and ratios.rows[-1] == ('5:4 – 3:2', [3])


def test_images_of_one_size_have_no_bars_of_shapes():
    assert [type(part) for part in count_images(facts(images([thing()]))[1], RECIPE)] == [Bars, Table]


# Advice.


def test_nothing_stands_out():
    assert advice(*PLENTY) == ''


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (images([thing('cow')]), 'Classes with fewer than 20 objects to train on: cow (1).'),
        (images([thing('cow')]), 'Classes without an object to evaluate on, which have no AP: cow.'),
        (images([thing('cow')], split='val'), 'Classes without an object to train on: cow.'),
        (images([thing('cow')], split='val'), 'evaluate on, whose AP says little: cow (1).'),
        (images([], [], []), 'Images to train on without an object: 3. The config leaves them out.'),
        (images([thing(x=x) for x in range(60)]), 'Images with more than 50 objects: 1.'),
        (images([thing(segmentation=[[0, 0, 9, 0, 9, 9]])]), '140 of 141 objects have a box and no mask'),
        (images([thing()] * 3), 'Objects that are annotated twice, with the same class and box: 2.'),
        (
            [*images([], scene=500), *images([], [], split='test', scene=500)],
            'Scenes that several splits share: 1.',
        ),
    ],
)
def test_what_stands_out(more, said):
    classes = ('cat', 'dog', 'cow') if 'cow' in said else ('cat', 'dog')
    assert said in advice(*PLENTY, more, classes=classes)


def test_few_images_to_train_on():
    assert 'Images to train on: 30. With so few' in advice(images(*[[thing(), thing('dog')]] * 30), PLENTY[1])


def test_crops_are_advised_where_the_images_have_more_pixels():
    """Objects of 24 pixels have 4 in an image that is a sixth as large, and 16 in a crop of 480 pixels."""
    tiny = images(*[[thing(width=24, height=24), thing('dog')]] * 60, width=1920, height=1440)
    assert 'cut them into crops of about 480 × 480 pixels' in advice(tiny, PLENTY[1])
    hardly = images(*[[thing(width=8, height=8), thing('dog')]] * 60, width=400, height=300)
    text = advice(hardly, PLENTY[1])
    assert 'smaller than 8 pixels after resizing to 320 × 240' in text and 'crops' not in text


def test_a_detector_that_finds_more_objects_is_no_matter():
    made, measured = facts(*PLENTY, images([thing(x=x) for x in range(60)]))
    assert not any('max_per_img' in text for text in advise(made, measured, replace(RECIPE, max_per_img=100)))


# What is shown.


def test_objects_from_small_to_large_of_different_scenes():
    sides = [10, 20, 30, 40, 50, 60]
    made, measured = facts(
        images([thing(width=side, height=side) for side in sides]), images([thing(width=35, height=35)], split='val')
    )
    chosen = choose_objects(measured, 0, 3)
    assert measured.boxes[chosen, 2].tolist() == [20, 35, 60]
    assert choose_objects(measured, 0, 100) == [0, 1, 2, 6, 3, 4, 5]
    assert choose_objects(measured, 1, 3) == []


def test_an_object_stands_in_the_middle_of_what_is_near(drawn):
    measured = measure(drawn, RECIPE.image_size)
    shown = show_object(drawn, measured, 1)
    # 117 × 88 pixels around the object at (120, 100), of which each has 4.1 units.
    (first, sampled), (_, neighbour) = shown.paths
    assert re.match(r'M15\d(\.\d+)? 9\d', first)
    assert (sampled.label, sampled.faint) == ('cat', False) and (neighbour.label, neighbour.faint) == ('', True)
    assert sampled.colour == neighbour.colour == COLOURS[0]
    assert shown.caption == '40 × 40 px, 20 px after resizing; train, train0.png'


def test_an_image_shows_all_of_its_objects_in_their_frame(drawn):
    shown = show_image(drawn, drawn.images[2])
    assert [path for path, _ in shown.paths] == ['M0 0L60 0L60 45Z', 'M225 150L225 179.2L284.2 179.2L284.2 150Z']
    assert {outline.colour for _, outline in shown.paths} == {COLOURS[1]}
    assert [label.text for label in shown.labels] == ['dog'] and shown.caption == 'train, train2.png'


def test_neighbours_end_at_the_border(drawn):
    measured = measure(drawn, RECIPE.image_size)
    for _, outline in show_object(drawn, measured, 3).paths:
        points = np.reshape(outline.polygons[0], (-1, 2))
        assert points.min() >= 0 and (points.max(0) <= [96, 72]).all()


def test_each_class_is_shown(drawn):
    text, *galleries = show_classes(drawn, measure(drawn, RECIPE.image_size))
    assert text.startswith('Up to 6 objects of each class')
    assert [(part.title, len(part.images)) for part in galleries] == [('dog: 4 objects', 4), ('cat: 3 objects', 3)]


def test_of_many_classes_the_most_frequent_and_the_rarest_are_shown():
    names = [f'class {number}' for number in range(40)]
    held = [thing(name) for number, name in enumerate(names, 1) for _ in range(number)]
    made, measured = facts(images(held), classes=names)
    text, unreadable = show_classes(made, measured)
    assert 'The 8 most frequent and the 8 rarest of 40 classes are shown.' in text
    assert unreadable.startswith('Not shown: nowhere/train0.png cannot be read')


def test_images_that_cannot_be_shown_are_skipped_and_said(drawn):
    (drawn.root / 'train0.png').write_bytes(b'')
    write_image(drawn.root / 'train1.png', (32, 32))
    *_, gallery, said = show_classes(drawn, measure(drawn, RECIPE.image_size))
    assert len(gallery.images) == 2
    assert 'train0.png cannot be read' in said and 'train1.png has another size than before' in said
    with pytest.raises(UserError, match='another size'):
        show_image(drawn, drawn.images[1])


def test_copies(drawn):
    assert show_copies(drawn.images, partial(show_image, drawn)) == ['No two images look alike.']
    for image, split in zip(drawn.images, ('train', 'train', 'val'), strict=True):
        image.scene, image.split = 5, split
    text, gallery, files = show_copies(drawn.images, partial(show_image, drawn))
    assert text.startswith('Images that look like others: 3, of 1 scenes. Scenes in several splits: 1.')
    assert [image.caption[:5] for image in gallery.images] == ['val, ', 'train', 'train']
    assert files == Bullets(['train, val: train0.png, train1.png, train2.png'])


# The file.


def test_the_report(drawn, tmp_path):
    drawn.notes.repair('box <b>', 'a.xml')
    drawn.notes.leave_out('object', 'b\x1b.xml')
    lines = write_data_report(tmp_path / 'report.html', drawn, RECIPE, 'config.py: trains')
    text = (tmp_path / 'report.html').read_text()
    titles = re.findall(r'<h2.*?>(.*?)</h2>', text)
    assert titles == [
        *('Before you train', 'Classes', 'Sizes of the objects', 'Examples', 'Images', 'Copies'),
        *('Repaired and left out', 'The config'),
    ]
    assert '3 images with 7 objects of 2 classes: boxes, some with masks, for a RetinaNet at 320 × 240 pixels.' in text
    assert '<li>repaired: 1 × box &lt;b&gt;, as a.xml</li>' in text and 'left out: 1 × object, as b\\x1b.xml' in text
    assert '<p>config.py: trains</p>' in text and '5 of 7 objects to train on have no mask' in text
    assert len(text) < 1e6 and text.count('<svg') == 7
    assert lines[0].startswith('sizes: after resizing') and all(line.startswith('noticed: ') for line in lines[1:])


def test_what_a_config_from_the_authors_weights_sets(drawn, tmp_path):
    recipe = replace(RECIPE, detector='faster_rcnn', start='released', image_size=(1333, 800))
    write_data_report(tmp_path / 'report.html', drawn, recipe)
    text = (tmp_path / 'report.html').read_text()
    assert (
        'Images of up to 1333 × 800 pixels, on which the authors’ weights were trained; half of them are resized to'
        in text
    )
    assert '<li>Anchors as the authors’ weights have them.</li>' in text and '256 and 512' not in text
    assert '<li>7 epochs of 5 iterations: 9 images to train on have objects.</li>' in text
