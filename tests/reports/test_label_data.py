"""The report of semantic maps and of folders of classes: its counts, its advice, its samples and its file."""

import re
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import cv2
import numpy as np
import pytest
from helpers.exports import write_image

from mmfasternet.datasets.formats import LabelledImage, Notes, Source, convert_classes, convert_maps
from mmfasternet.errors import UserError
from mmfasternet.reports.data.labels.advice import advise_classes, advise_maps
from mmfasternet.reports.data.labels.counts import count_classes
from mmfasternet.reports.data.labels.measures import measure_labels, read_labels, resizing_ious
from mmfasternet.reports.data.labels.report import write_classes_report, write_maps_report
from mmfasternet.reports.data.labels.samples import show_images_of_classes, show_maps_of_classes
from mmfasternet.reports.outlines import COLOURS
from mmfasternet.reports.page import Bars, Gallery
from mmfasternet.reports.regions import draw_map, find_regions

CLASSES = ['background', 'wire', 'plate']
SIZE = (160, 120)


def labels_of(number: int) -> np.ndarray:
    """Of the background, a plate of 40 × 30 pixels, and in every second map a wire that is one pixel wide."""
    labels = np.zeros(SIZE[::-1], np.uint8)
    labels[60:90, 20 + number : 60 + number] = 2
    if number % 2:
        labels[21, 10:110] = 1
    return labels


@pytest.fixture(scope='module')
def maps(tmp_path_factory) -> SimpleNamespace:
    """Six images to train on and two to evaluate on, converted."""
    root, out = (tmp_path_factory.mktemp(name) for name in ('maps', 'out'))
    for number in range(8):
        split = 'train' if number < 6 else 'val'
        write_image(root / f'images/{split}/{number}.png', SIZE, number)
        path = root / f'masks/{split}/{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), labels_of(number))
    converted = convert_maps(root, out, {1: 'wire', 2: 'plate'})
    return SimpleNamespace(root=root, out=out, source=converted.source, measured=measure_labels(converted.source))


def test_a_conversion_counts_the_pixels_of_each_image(maps):
    by_name = {image.path.name: image.pixels.tolist() for image in maps.source.images}
    assert by_name['0.png'] == [160 * 120 - 1200, 0, 1200, 0] and by_name['7.png'] == [160 * 120 - 1300, 100, 1200, 0]


def test_images_and_pixels_of_each_class(maps):
    ious = np.array([0.99, 0.1, np.nan])
    images, pixels, _, table = count_classes(maps.source, maps.measured, ious)
    assert images == Bars(
        ['train', 'val'], [('background', [6, 2]), ('plate', [6, 2]), ('wire', [3, 1])], 'Images with each class'
    )
    assert [(name, round(share[0], 3)) for name, share in pixels.rows] == [
        *(('background', 93.490), ('plate', 6.25), ('wire', 0.26)),
    ]
    # Of the share of an image, the median of those that have the class.
    assert table.rows[1:] == [
        ['plate', 6, 2, '6.2', '6.2', '6.2', None],
        ['wire', 3, 1, '0.260', '0.260', '0.521', '10.0'],
    ]


def test_what_resizing_alone_leaves(maps):
    same = resizing_ious(maps.source, maps.measured, maps.out / 'semantic', SIZE)
    assert same.tolist() == [1, 1, 1]
    background, wire, plate = resizing_ious(maps.source, maps.measured, maps.out / 'semantic', (40, 30))
    assert wire == 0 and background > 0.98 and 0.85 < plate <= 1


def test_advice_on_maps(maps):
    ious = resizing_ious(maps.source, maps.measured, maps.out / 'semantic', (40, 30))
    lost, *_ = said = advise_maps(maps.source, maps.measured, ious, (40, 30), [1, 4, 1])[-3:]
    assert lost.startswith('Resizing to 40 × 30 pixels alone leaves an IoU of less than 80% of wire (0%): what is thin')
    assert said[1] == (
        'Classes with less than 0.5% of the pixels to train on: wire (0.260%). They are learned last, and the loss of '
        'the config weighs the pixels of rare classes more; more images of them help most.'
    )
    assert said[2] == 'Images to train on: 6. With so few, results vary from training to training.'


def labelled(label: str, split: str = 'train', scene: int | None = None, pixels=None, size=(64, 64)) -> LabelledImage:
    return LabelledImage(Path(f'{label}.png'), *size, split, [label], None, scene, pixels)


def advice(*images: LabelledImage, side: int = 64) -> list[str]:
    source = Source('classes', Path('nowhere'), ['cat', 'dog'], list(images), Notes())
    return advise_classes(source, measure_labels(source), side)


PLENTY = [labelled(name, split) for name in ('cat', 'dog') for split in ('train', 'val') for _ in range(20)]


def test_nothing_stands_out():
    assert advice(*PLENTY) == []


@pytest.mark.parametrize(
    ('images', 'side', 'said'),
    [
        (
            [*PLENTY, *[labelled('cat')] * 180],
            64,
            'cat has 200 images to train on, 10 times as many or more than dog (20)',
        ),
        (PLENTY[:60], 64, 'Classes without an image to evaluate on, which have no recall: dog.'),
        (PLENTY[5:], 64, 'Classes with fewer than 20 images to train on: cat (15).'),
        (PLENTY[:-15], 64, 'Classes with fewer than 10 images to evaluate on, whose recall says little: dog (5).'),
        (
            PLENTY,
            16,
            'Half of the images have a shorter side of 64 pixels or more, and the classifier sees them with 16',
        ),
        ([*PLENTY, *[labelled('cat', size=(64, 20))] * 20], 64, '20% of the images are more than 2 times as long'),
        (
            [*PLENTY, labelled('cat', scene=900), labelled('dog', scene=900)],
            64,
            '1 scene with images in the folders of several classes: where they are copies, one of the labels is wrong.',
        ),
        (
            [*PLENTY, labelled('cat', scene=900), labelled('cat', 'val', scene=900)],
            64,
            'Scenes that several splits share: 1. Results on them are better than on new images.',
        ),
    ],
)
def test_advice_on_classes(images, side, said):
    (text,) = advice(*images, side=side)
    assert text.startswith(said)


@pytest.mark.parametrize(
    ('pixels', 'said'),
    [
        ([60, 20, 20, 20], '17% of the pixels are ignored'),
        ([100, 0, 0, 0], 'Images to train on that have background alone: 30.'),
    ],
)
def test_advice_on_pixels(pixels, said):
    names = [name for name, count in zip(CLASSES, pixels, strict=False) if count]
    images = [labelled('x', split, pixels=np.array(pixels)) for split in ('train', 'val') for _ in range(30)]
    for image in images:
        image.labels = names
    source = Source('maps', Path('nowhere'), CLASSES, images, Notes())
    assert any(text.startswith(said) for text in advise_maps(source, measure_labels(source), np.ones(3), SIZE, None))


def test_a_map_is_shown_around_its_class_beside_its_image(maps):
    text, *galleries = show_maps_of_classes(maps.source, maps.measured, maps.out / 'semantic')
    assert text.startswith('Up to 4 images with each class')
    assert [(part.title, len(part.images)) for part in galleries] == [
        *(('background: 8 images', 8), ('plate: 8 images', 8), ('wire: 4 images', 8)),
    ]
    plain, drawn = galleries[2].images[:2]
    assert not plain.paths and drawn.caption == 'wire: 0.521% of the image'
    assert plain.caption in {f'{split}, {n}.png' for split, n in (('train', 1), ('train', 3), ('train', 5), ('val', 7))}
    lines = {outline.colour: (outline.label, outline.faint, outline.filled) for _, outline in drawn.paths}
    assert lines == {COLOURS[1]: ('wire', False, True), COLOURS[2]: ('', True, False)}


def test_a_map_that_is_not_of_the_image_is_said(maps, tmp_path):
    image = maps.source.images[0]
    path = tmp_path / image.split / f'{image.path}.png'
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), np.zeros((5, 5), np.uint8))
    with pytest.raises(UserError, match='is not the semantic map of'):
        read_labels(tmp_path, image)
    *_, said = show_maps_of_classes(maps.source, maps.measured, tmp_path)
    assert said.startswith('Not shown: ')


def test_regions_and_what_is_wrong_in_them():
    labels = np.zeros((40, 60), np.uint8)
    labels[5:15, 5:25], labels[20:36, 30:50], labels[38, 55] = 1, 1, 1
    labels[25:30, 35:40] = 0
    wrong = np.zeros(labels.shape, bool)
    wrong[5:15, 5:17] = True
    large, small = find_regions(labels, 1, wrong)  # and not the speck
    assert (large.area, large.box, large.wrong) == (295, (30, 20, 20, 16), 0) and len(large.polygons) == 2
    assert (small.area, small.wrong) == (200, 0.6)
    drawn = draw_map(
        np.zeros((40, 60, 3), np.uint8), labels, ['background', 'cat'], 'a.jpg', wrong=wrong, word='missed'
    )
    assert [(outline.label, outline.dashed) for _, outline in drawn.paths] == [('missed: cat', True), ('cat', False)]


def test_a_large_map_is_drawn_where_it_is():
    labels = np.zeros((1500, 2000), np.uint8)
    labels[500:1000, 1000:2000] = 1
    drawn = draw_map(np.zeros((1500, 2000, 3), np.uint8), labels, ['sky', 'sea'], '')
    points = np.array(re.findall(r'[\d.]+', drawn.paths[1][0]), float).reshape(-1, 2)
    # On a canvas of 480 × 360, of which each unit has 4.17 pixels.
    assert points.min(0) == pytest.approx([240, 120], abs=1) and points.max(0) == pytest.approx([480, 240], abs=1)


def test_the_report_of_maps(maps, tmp_path):
    config = dict(
        image_size=(40, 30),
        crop_size=(32, 64),
        max_iters=300,
        train_dataloader=dict(batch_size=4),
        model=dict(decode_head=dict(loss_decode=[dict(class_weight=[1.0, 4.0, 1.05]), {}])),
    )
    lines = write_maps_report(tmp_path / 'report.html', maps.source, maps.out / 'semantic', config, 'config.py: trains')
    text = (tmp_path / 'report.html').read_text()
    assert re.findall(r'<h2.*?>(.*?)</h2>', text) == [
        *('Before you train', 'Classes', 'Examples', 'Images', 'Copies', 'Repaired and left out', 'The config'),
    ]
    assert (
        '8 images with semantic maps of 3 classes.' in text and '<dt>lowest IoU after resizing</dt><dd>0%</dd>' in text
    )
    for item in (
        *('Images of up to 40 × 30 pixels.', 'Crops of 64 × 32 pixels, the size that is trained on.'),
        *('Classes whose pixels weigh more in the loss: wire 4.', '300 iterations with batches of 4 images.'),
    ):
        assert f'<li>{item}</li>' in text
    assert text.count('<svg') == 24 and all(line.startswith('noticed: ') for line in lines)
    # A config that a user has changed may say nothing.
    write_maps_report(tmp_path / 'report.html', maps.source, maps.out / 'semantic', {})
    assert 'Images of up to 160 × 120 pixels.' in (tmp_path / 'report.html').read_text()


def test_the_report_of_classes(tmp_path):
    for name in ('cat', 'dog'):
        for number in range(5):
            path = f'{name}/{number}.png'
            write_image(tmp_path / 'source' / path, (64, 48), crc32(path.encode()))
    (tmp_path / 'source/dog/copy.png').write_bytes((tmp_path / 'source/cat/0.png').read_bytes())
    source = convert_classes(tmp_path / 'source', tmp_path / 'out', val=0.4).source
    config = dict(side=64, max_epochs=7)
    lines = write_classes_report(tmp_path / 'report.html', source, config)
    text = (tmp_path / 'report.html').read_text()
    assert lines[0].startswith('noticed: 1 scene with images in the folders of several classes')
    assert '11 images with one of 2 classes each.' in text and '<li>7 epochs.</li>' in text
    assert 'Images that look like others: 2, of 1 scenes.' in text and 'cat, 64 × 48 px; ' in text
    _, *galleries = show_images_of_classes(source, measure_labels(source))
    assert all(isinstance(part, Gallery) for part in galleries)
    assert [(part.title, len(part.images)) for part in galleries] == [('dog: 6 images', 6), ('cat: 5 images', 5)]
