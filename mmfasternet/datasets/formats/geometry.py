"""Boxes, polygons and masks: from the frame of an annotation to the upright image, cut at its border."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from .source import Notes, Shape, SourceObject

__all__ = ['Frame', 'ellipse', 'finish', 'mask_of_runs', 'overlap', 'pairs']

# Coordinates beyond, and outlines longer than this many pixels, are no annotations: pycocotools would take gigabytes.
_FARTHEST = 1e6
_LONGEST = 2e6
# How little of a box its mask may fill before the box is taken to be wrong.
_ALIKE = 0.5


class Frame:
    """How coordinates of an annotation become pixels of the upright image.

    Args:
        size: Width and height of the frame that the annotation was drawn in, in pixels.
        orientation: EXIF's number of the turn that makes the frame upright; 1 for none.
        scale: Factors of x and y to pixels of the frame. Defaults to 1.

    Example:
        >>> frame = Frame((40, 30), 6)  # a camera held upright: the top is on the right of the stored image
        >>> frame.upright, frame.points([0, 0, 40, 0])
        ((30, 40), [30.0, 0.0, 30.0, 40.0])
    """

    def __init__(self, size: tuple[int, int], orientation: int, scale: tuple[float, float] = (1, 1)) -> None:
        self.size, self.orientation, self.scale = size, orientation, scale
        self.upright = size[::-1] if orientation >= 5 else size

    def points(self, numbers: list) -> list[float]:
        """x, y, x, y, … in the upright image."""
        width, height = self.size
        turned = []
        for x, y in pairs(numbers):
            x, y = x * self.scale[0], y * self.scale[1]
            x, y = (width - x if self.orientation in (2, 3, 7, 8) else x), (height - y if self._flipped else y)
            turned += [y, x] if self.orientation >= 5 else [x, y]
        return [float(value) for value in turned]

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask, bool (H, W), of the upright image."""
        mask = mask[:, ::-1] if self.orientation in (2, 3, 7, 8) else mask
        mask = mask[::-1] if self._flipped else mask
        return mask.T if self.orientation >= 5 else mask

    @property
    def _flipped(self) -> bool:
        return self.orientation in (3, 4, 6, 7)


def finish(shape: Shape, frame: Frame, notes: Notes) -> SourceObject | None:
    """Bring an object into the upright image, and repair or leave out what is wrong with it.

    Args:
        shape: The object.
        frame: Of its annotation.
        notes: What is repaired or left out is noted here.

    Returns:
        The object, or None if neither a box nor a mask is left of it.

    Example:
        >>> finish(Shape('cat', 'a.xml', box=[9, 2, 4, 7]), Frame((20, 10), 1), Notes()).box
        [4.0, 2.0, 5.0, 5.0]
    """
    segmentation, encoded = _masked(shape, frame, notes)
    around = [float(value) for value in coco_mask.toBbox(encoded)] if encoded else None
    if around and segmentation and isinstance(segmentation, list):
        around = _around(segmentation)
    box = _boxed(shape, frame, notes, around)
    if box is None:
        return None
    area = float(coco_mask.area(encoded)) if encoded else box[2] * box[3]
    return SourceObject(shape.label, box, area, segmentation, shape.crowd)


def _masked(shape: Shape, frame: Frame, notes: Notes) -> tuple[list[list[float]] | dict[str, Any], dict | None]:
    """Polygons or RLE, and RLE of either; nothing if no pixel is left."""
    width, height = frame.upright
    if shape.mask:
        try:
            drawn = frame.mask(shape.mask(*frame.size))
        except (ValueError, TypeError, OverflowError) as error:
            notes.leave_out(f'mask that cannot be read ({error})', shape.where)
            return [], None
        segmentation = encoded = coco_mask.encode(np.asfortranarray(drawn, np.uint8))
        segmentation = dict(size=[height, width], counts=encoded['counts'].decode())
    else:
        segmentation = [kept for polygon in shape.polygons if (kept := _cut(polygon, shape, frame, notes))]
        if not segmentation:
            return [], None
        encoded = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if not coco_mask.area(encoded):
        notes.leave_out('mask without a pixel', shape.where)
        return [], None
    return segmentation, encoded


def _cut(polygon: Any, shape: Shape, frame: Frame, notes: Notes) -> list[float] | None:
    """A polygon in the upright image, cut at its border; None if it is none."""
    if not _finite(polygon) or len(polygon) < 6 or len(polygon) % 2:
        notes.leave_out('polygon that is not three or more points of finite numbers', shape.where)
        return None
    points = frame.points(polygon)
    steps = [max(abs(x - u), abs(y - v)) for (x, y), (u, v) in zip(pairs(points), pairs(points[2:]), strict=False)]
    if max(map(abs, points)) > _FARTHEST or sum(steps) > _LONGEST:
        notes.leave_out(f'polygon farther than {_FARTHEST:.0f} pixels, or longer than {_LONGEST:.0f}', shape.where)
        return None
    inside = points
    for axis, limit in enumerate(frame.upright):
        inside = _half(_half(inside, axis, 0, 1), axis, limit, -1)
    if inside != points:
        if len(inside) < 6:
            notes.leave_out('polygon outside of its image', shape.where)
            return None
        notes.repair('polygon reached over the border of its image, and was cut there', shape.where)
    return [round(value, 3) for value in inside]


def _half(points: list[float], axis: int, limit: float, sign: int) -> list[float]:
    """What of a polygon lies on one side of a line (Sutherland and Hodgman)."""
    if all(sign * value >= sign * limit for value in points[axis::2]):
        return points
    kept, corners = [], pairs(points)
    for before, corner in zip([corners[-1], *corners[:-1]], corners, strict=True):
        was, is_inside = (sign * (point[axis] - limit) >= 0 for point in (before, corner))
        if was != is_inside:
            share = (limit - before[axis]) / (corner[axis] - before[axis])
            crossing = [a + share * (b - a) for a, b in zip(before, corner, strict=True)]
            crossing[axis] = float(limit)
            kept += crossing
        if is_inside:
            kept += corner
    return kept if kept else []


def _boxed(shape: Shape, frame: Frame, notes: Notes, around: list[float] | None) -> list[float] | None:
    """x, y, width and height: the stated box if it fits the mask, else the one around it."""
    if shape.box is None:
        if around is None:
            notes.leave_out('object without a box and without a mask', shape.where)
        return around
    stated, fault, repairs = _cut_box(shape, frame)
    if stated is None:
        if around is None:
            notes.leave_out(f'box {fault}', shape.where)
        else:
            notes.repair(f'box {fault}, replaced by the one around its mask', shape.where)
        return around
    if around and not shape.crowd and overlap(_corners(stated), _corners(around)) < _ALIKE:
        notes.repair('box elsewhere than its mask, replaced by the one around it', shape.where)
        return around
    for kind in repairs:
        notes.repair(kind, shape.where)
    return stated


def _cut_box(shape: Shape, frame: Frame) -> tuple[list[float] | None, str, list[str]]:
    """The stated box in the upright image, what is wrong with it if there is none, and what was repaired."""
    if not _finite(shape.box) or len(shape.box) != 4:
        return None, 'that is not four finite numbers', []
    repairs = []
    if shape.box[0] > shape.box[2] or shape.box[1] > shape.box[3]:
        repairs.append('box whose minimum and maximum are exchanged')
    points = frame.points(shape.box)
    ranges = []
    for axis, limit in enumerate(frame.upright):
        low, high = sorted(points[axis::2])
        if low == high:
            return None, 'without a size', []
        cut = max(low, 0.0), min(high, float(limit))
        if cut[0] >= cut[1]:
            return None, 'outside of its image', []
        ranges.append(cut)
    (left, right), (top, bottom) = ranges
    corners = [*sorted(points[::2]), *sorted(points[1::2])]
    if max(abs(a - b) for a, b in zip(corners, [left, right, top, bottom], strict=True)) > 1e-3:  # less is rounding
        repairs.append('box reached over the border of its image, and was cut there')
    box = [round(left, 3), round(top, 3), round(right - left, 3), round(bottom - top, 3)]
    return (box, '', repairs) if box[2] > 0 and box[3] > 0 else (None, 'without a size', [])


def _around(polygons: list[list[float]]) -> list[float]:
    xs, ys = ([value for polygon in polygons for value in polygon[axis::2]] for axis in (0, 1))
    return [min(xs), min(ys), round(max(xs) - min(xs), 3), round(max(ys) - min(ys), 3)]


def _corners(box: list[float]) -> list[float]:
    x, y, width, height = box
    return [x, y, x + width, y + height]


def overlap(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes.

    Args:
        one: x and y of the lower, then of the higher corner.
        other: The same of the other.

    Returns:
        0 to 1.

    Example:
        >>> overlap([0, 0, 2, 2], [1, 0, 3, 2]) * 3
        1.0
    """
    sides = [max(0, min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis])) for axis in (0, 1)]
    common = sides[0] * sides[1]
    every = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - common
    return common / every if every > 0 else 0.0


def _finite(numbers: Any) -> bool:
    try:
        # True is 1 in Python, and no number in an annotation.
        return all(math.isfinite(number) and not isinstance(number, bool) for number in numbers)
    except (TypeError, OverflowError):
        return False


def pairs(numbers: list) -> list[tuple]:
    """The points of x, y, x, y, …

    Args:
        numbers: An even number of them.

    Returns:
        x and y of each.

    Example:
        >>> pairs([1, 2, 3, 4])
        [(1, 2), (3, 4)]
    """
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def ellipse(x: float, y: float, width: float, height: float | None = None) -> list[float]:
    """A polygon of 64 corners around an ellipse.

    Args:
        x: Of its centre.
        y: Of its centre.
        width: Half of its extent along x.
        height: Half of its extent along y. Defaults to the width, for a circle.

    Returns:
        x, y, x, y, …; what was given if it is not finite numbers, which no polygon is.

    Example:
        >>> [round(value) for value in ellipse(10, 10, 5)[:4]]
        [15, 10, 15, 10]
    """
    height = width if height is None else height
    if not _finite([x, y, width, height]):
        return [x, y, width, height]
    angles = np.arange(64) / 32 * np.pi
    return np.stack([x + width * np.cos(angles), y + height * np.sin(angles)], 1).ravel().tolist()


def mask_of_runs(runs: list[int], columns: bool = True) -> Callable[[int, int], np.ndarray]:
    """A mask from the lengths of its runs, which start with one outside of the object.

    Args:
        runs: In pixels.
        columns: Whether they run down the columns, as COCO's do, rather than along the rows. Defaults to True.

    Returns:
        What draws it, see :class:`Shape`.

    Example:
        >>> mask_of_runs([1, 2, 1])(2, 2).astype(int)
        array([[0, 1],
               [1, 0]])
    """

    def draw(width: int, height: int) -> np.ndarray:
        if not _finite(runs) or min(runs, default=-1) < 0 or sum(runs) != width * height:
            raise ValueError(f'its run lengths are not those of {width} × {height} pixels')
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, np.asarray(runs, np.int64))
        return flat.reshape(width, height).T if columns else flat.reshape(height, width)

    return draw
