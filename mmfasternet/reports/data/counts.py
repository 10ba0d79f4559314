"""What is counted of a data set: its classes, the sizes of its objects, and its images."""

from itertools import pairwise

import numpy as np

from mmfasternet.datasets.formats import Source
from mmfasternet.datasets.formats.splitting import SPLITS
from mmfasternet.datasets.recipe import Recipe
from mmfasternet.reports.page import Bars, Table

from .advice import TINY
from .measures import Measures
from .shapes import count_shapes, filled_rows, histogram, ratio_bars
from .words import first_of, side_by_side

__all__ = ['count_classes', 'count_images', 'count_sizes', 'describe_sizes']

# COCO's limits of small, medium and large objects, and limits of the bars, which have them too.
_COCO = (32, 96)
_SIZES = (0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, np.inf)
_NUMBERS = (0, 1, 2, 3, 5, 10, 20, 50, 100, np.inf)
# Rows of a table of classes, and of bars.
_ROWS, _BARS = 200, 40


def describe_sizes(measured: Measures, recipe: Recipe) -> str:
    """Say how large the objects are in a training.

    Args:
        measured: The objects.
        recipe: What the config sets.

    Returns:
        One line.
    """
    small, medium, large = ((np.digitize(measured.sizes, _COCO) == group).mean() for group in range(3))
    return (
        f'sizes: after resizing to {side_by_side(recipe.image_size)}, the median is {np.median(measured.sizes):.0f} '
        f'pixels; {small:.0%} are small (below {_COCO[0]}), {medium:.0%} medium, {large:.0%} large (from {_COCO[1]})'
    )


def count_classes(source: Source, measured: Measures) -> list[Bars | Table]:
    """Count the objects of each class in each split.

    Args:
        source: The data.
        measured: Its objects.

    Returns:
        Parts of a page, the most frequent class first.
    """
    counts, sizes, used = measured.count(len(source.classes)), measured.sizes, _used(measured)
    order = np.argsort(-counts.sum(1), kind='stable').tolist()
    with_class = np.unique(np.stack([measured.kinds, measured.owners]), axis=1)[0]
    images = np.bincount(with_class, minlength=len(source.classes))
    places = np.split(np.argsort(measured.kinds, kind='stable'), np.cumsum(counts.sum(1))[:-1])
    rows = [
        (
            source.classes[kind],
            *(int(counts[kind, split]) for split in used),
            int(images[kind]),
            int(measured.masked[places[kind]].sum()),
            float(np.median(sizes[places[kind]])) if len(places[kind]) else None,
        )
        for kind in order[:_ROWS]
    ]
    bars = [(source.classes[kind], [int(counts[kind, split]) for split in used]) for kind in order[:_BARS]]
    head = ['class', *(f'in {SPLITS[split]}' for split in used), 'images', 'with a mask', 'median size (px)']
    return [
        Bars([SPLITS[split] for split in used], bars, f'Objects of each class{first_of(_BARS, len(order))}'),
        Table(head, rows, f'The same in figures{first_of(_ROWS, len(order))}, and sizes after resizing'),
    ]


def count_sizes(measured: Measures, recipe: Recipe) -> list[str | Bars | Table]:
    """Count the objects by their sizes and shapes.

    Args:
        measured: The objects.
        recipe: What the config sets.

    Returns:
        Parts of a page.
    """
    sizes, names = measured.sizes, ('small', 'medium', 'large')
    groups = np.digitize(sizes, _COCO)
    places = np.digitize(sizes, _SIZES[1:-1])
    counts = np.bincount(places * 3 + groups, minlength=3 * (len(_SIZES) - 1)).reshape(-1, 3)
    before = np.digitize(measured.areas, [limit**2 for limit in _COCO])
    texts = (f'below {_COCO[0]}', f'{_COCO[0]} to {_COCO[1]}', f'{_COCO[1]} and more')
    rows = [
        (f'{name}: {text}', *(cell for of in (groups, before) for cell in _share(of == group)))
        for group, (name, text) in enumerate(zip(names, texts, strict=True))
    ]
    return [
        f'A size is the square root of a box’s area. The config resizes images to {side_by_side(recipe.image_size)}: '
        f'half of the objects have {np.median(sizes):.0f} pixels or more there, and {(sizes < TINY).mean():.0%} have '
        f'fewer than {TINY}.',
        Bars(names, filled_rows(_ranges(_SIZES), counts), 'Objects by their size after resizing, in pixels'),
        Table(
            ['size (px)', 'objects resized', '%', 'objects as they are', '%'],
            rows,
            'COCO’s sizes; its AP of small, medium and large objects takes them as they are, by the area of the masks',
        ),
        ratio_bars('objects', measured.boxes[:, 2] / np.maximum(measured.boxes[:, 3], 1e-6)),
    ]


def count_images(measured: Measures, recipe: Recipe) -> list[Bars | Table]:
    """Count the images by their objects, sizes and shapes.

    Args:
        measured: The images.
        recipe: What the config sets.

    Returns:
        Parts of a page.
    """
    used = _used(measured)
    counts = np.stack([histogram(measured.per_image[measured.splits == split], _NUMBERS) for split in used], 1)
    bars = Bars(
        [SPLITS[split] for split in used],
        filled_rows(_ranges(_NUMBERS, 1), counts),
        'Images by their number of objects',
    )
    return [bars, *count_shapes(measured.shapes, recipe.image_size)]


def _used(measured: Measures) -> list[int]:
    """Places of the splits that have images."""
    return np.unique(measured.splits).tolist()


def _ranges(edges: tuple[float, ...], step: int = 0) -> list[str]:
    """What is between two edges, the lower one included, in words; the upper one is included less a step."""
    texts = [f'{low} – {high - step}' if high - step > low else f'{low}' for low, high in pairwise(edges[:-1])]
    return [*texts, f'{edges[-2]} and more']


def _share(chosen: np.ndarray) -> tuple[int, float]:
    return int(chosen.sum()), float(100 * chosen.mean())
