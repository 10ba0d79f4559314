"""The segmentation of one object in COCO's format: polygons, or run lengths of a mask."""

import math
from itertools import chain
from typing import Any

__all__ = ['are_runs', 'measure_polygons', 'measure_runs', 'nested', 'uncompressed']


def uncompressed(text: str) -> list[int] | None:
    """The run lengths in pycocotools' text, which it reads without looking at the end of the mask or of the text.

    Args:
        text: Compressed run lengths.

    Returns:
        Their numbers; None if the text is none of pycocotools'.

    Example:
        >>> uncompressed('52203')
        [5, 2, 2, 2, 5]
    """
    runs, value, shift = [], 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 60:
            return None
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            # The fifth bit is the sign; from the third run on, the text has the difference to the one before the last.
            value -= (code & 16) // 16 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    return None if shift else runs


def are_runs(counts: list, pixels: float) -> bool:
    """Whether numbers are the run lengths of all pixels of an image.

    Args:
        counts: The numbers.
        pixels: Number of pixels.

    Returns:
        Whether they are.

    Example:
        >>> are_runs([5, 2, 5], 12), are_runs([13, -1], 12)
        (True, False)
    """
    return sum(counts) == pixels and min(counts) >= 0


def nested(segmentation: list) -> list:
    """The polygons of a list that some tools write in another form, of which there is only one reading.

    Args:
        segmentation: Polygons, or the numbers of one polygon, or its points, or points of polygons.

    Returns:
        Polygons [x, y, x, y, …], without those of fewer than three points, which cover nothing; pycocotools takes those
        of two points for boxes.

    Example:
        >>> nested([1, 2, 3, 4, 5, 6]) == nested([[1, 2], [3, 4], [5, 6]]) == nested([[1, 2, 3, 4, 5, 6], [1, 2]])
        True
    """
    if _are_numbers(segmentation):
        segmentation = [segmentation]
    elif len(segmentation) > 2 and all(map(_is_point, segmentation)):
        segmentation = [list(chain(*segmentation))]
    polygons = []
    for polygon in segmentation:
        if isinstance(polygon, list) and polygon and all(map(_is_point, polygon)):
            polygon = list(chain(*polygon))
        if not (isinstance(polygon, list) and (not polygon or (_are_numbers(polygon) and len(polygon) in (2, 4)))):
            polygons.append(polygon)
    return polygons


def _are_numbers(values: Any) -> bool:
    return bool(values) and all(type(value) in (int, float) for value in values)


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _are_numbers(value)


def measure_polygons(polygons: list[list[float]]) -> tuple[float, list[float]]:
    """The area and the box of polygons.

    Args:
        polygons: Each [x, y, x, y, …], in pixels.

    Returns:
        The sum of their areas, and x, y, width and height of the box around them.

    Example:
        >>> measure_polygons([[1, 1, 4, 1, 4, 3, 1, 3]])
        (6.0, [1, 1, 3, 2])
    """
    area = 0.0
    for polygon in polygons:
        xs, ys = polygon[::2], polygon[1::2]
        area += abs(sum(x * (after - before) for x, before, after in _neighbours(xs, ys))) / 2
    xs, ys = ([value for polygon in polygons for value in polygon[axis::2]] for axis in (0, 1))
    return area, [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _neighbours(xs: list[float], ys: list[float]) -> zip:
    """Each x, with the y of the point before and after."""
    return zip(xs, [ys[-1], *ys[:-1]], [*ys[1:], ys[0]], strict=True)


def measure_runs(counts: list[int], height: int) -> tuple[int, list[int] | None]:
    """The area and the box of a mask.

    Args:
        counts: Run lengths of background and mask in turn, column by column.
        height: Of the image.

    Returns:
        The number of its pixels, and x, y, width and height of the box around them; None if it has none.

    Example:
        >>> measure_runs([5, 2, 5], 4)
        (2, [1, 1, 1, 2])
    """
    start, area = 0, 0
    left, top, right, bottom = math.inf, math.inf, 0, 0
    for index, count in enumerate(counts):
        if index % 2 and count:
            end = start + count - 1
            crosses = start // height != end // height  # into the next column
            left, right = min(left, start // height), max(right, end // height + 1)
            top, bottom = (
                min(top, 0 if crosses else start % height),
                max(bottom, height if crosses else end % height + 1),
            )
            area += count
        start += count
    return area, [int(left), int(top), int(right - left), int(bottom - top)] if area else None
