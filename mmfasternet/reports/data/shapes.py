"""Sizes and shapes of images or boxes, counted."""

from collections import Counter
from itertools import pairwise

import numpy as np

from mmfasternet.reports.page import Bars, Table

from .words import first_of, side_by_side

__all__ = ['count_shapes', 'filled_rows', 'histogram', 'ratio_bars']

# Widths divided by heights.
_RATIOS = {'1:3': 1 / 3, '1:2': 1 / 2, '2:3': 2 / 3, '4:5': 4 / 5, '5:4': 5 / 4, '3:2': 3 / 2, '2:1': 2, '3:1': 3}
_ROWS = 8


def count_shapes(shapes: np.ndarray, image_size: tuple[int, int]) -> list[Bars | Table]:
    """Count images by their sizes, and what becomes of these, and by their shapes.

    Args:
        shapes: Width and height of each image, pixels, (M, 2).
        image_size: Upper limits of an image's longer and shorter side, to which it is resized, pixels.

    Returns:
        Parts of a page.

    Example:
        >>> count_shapes(np.array([[640, 480]]), (320, 240))[0].rows
        [('640 × 480', 1, '320 × 240', '50%')]
    """
    counts, rows = Counter(map(tuple, shapes.astype(int).tolist())), []
    for (width, height), count in counts.most_common(_ROWS):
        scale = min(image_size[0] / max(width, height), image_size[1] / min(width, height))
        resized = side_by_side((round(width * scale), round(height * scale)))
        rows.append((side_by_side((width, height)), count, resized, f'{scale:.0%}'))
    table = Table(
        ['size (px)', 'images', 'resized', 'scale'], rows, f'Sizes of the images{first_of(_ROWS, len(counts))}'
    )
    return [table, ratio_bars('images', shapes[:, 0] / shapes[:, 1])] if len(counts) > 1 else [table]


def ratio_bars(what: str, ratios: np.ndarray) -> Bars:
    """Count by shape.

    Args:
        what: What has the shapes, in the plural.
        ratios: Widths divided by heights.

    Returns:
        A bar for each range.

    Example:
        >>> ratio_bars('images', np.array([1, 4])).rows[0]
        ('4:5 – 5:4', [1])
    """
    names = list(_RATIOS)
    labels = [f'below {names[0]}', *(f'{low} – {high}' for low, high in pairwise(names)), f'{names[-1]} and more']
    counts = histogram(ratios, (0, *_RATIOS.values(), np.inf))
    return Bars([what], filled_rows(labels, counts[:, None]), f'{what.capitalize()} by width : height')


def histogram(values: np.ndarray, edges: tuple[float, ...]) -> np.ndarray:
    """Count values in ranges.

    Args:
        values: At least the first edge.
        edges: Of the ranges; a lower one is in its range.

    Returns:
        As many numbers as ranges.

    Example:
        >>> histogram(np.array([1, 2, 3]), (0, 2, np.inf)).tolist()
        [1, 2]
    """
    return np.bincount(np.digitize(values, edges[1:-1]), minlength=len(edges) - 1)


def filled_rows(labels: list[str], counts: np.ndarray) -> list[tuple[str, list[int]]]:
    """Rows of bars from the first to the last that is not empty.

    Args:
        labels: Of the rows.
        counts: Their parts, int (rows, series).

    Returns:
        Rows.

    Example:
        >>> filled_rows(['a', 'b', 'c'], np.array([[0], [2], [0]]))
        [('b', [2])]
    """
    places = np.flatnonzero(counts.sum(1))
    return list(zip(labels, counts.tolist(), strict=True))[places[0] : places[-1] + 1] if len(places) else []
