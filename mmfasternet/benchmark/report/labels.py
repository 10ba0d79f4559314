"""Labels of the points of a plot, each where it covers the least."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

__all__ = ['Point', 'coordinates', 'cut', 'place_labels']

_GROUND = dict(facecolor='white', edgecolor='none', alpha=0.75, pad=0.5)
_LABEL = dict(fontsize=8.5, color='#222222', ha='left', va='bottom', bbox=_GROUND, zorder=6)
# Where a label may stand: directions around its point, and distances from it in points.
_DIRECTIONS = [np.array([math.cos(angle), math.sin(angle)]) for angle in np.arange(16) * math.pi / 8]
_DISTANCES = (7, 14, 24, 36)
_GAP = 4  # points between two labels


@dataclass(frozen=True)
class Point:
    """A point with a label.

    Args:
        label: Its label.
        x: Where it lies on the horizontal axis.
        y: Where it lies on the vertical axis.
        flagged: Whether † follows the label. Defaults to False.
    """

    label: str
    x: float
    y: float
    flagged: bool = False


def coordinates(points: Iterable[Point]) -> tuple[list[float], list[float]]:
    """Where points lie, as matplotlib takes it.

    Args:
        points: Points.

    Returns:
        All x, and all y.

    Example:
        >>> coordinates([Point('a', 1, 2), Point('b', 3, 4)])
        ([1, 3], [2, 4])
    """
    points = list(points)
    return [point.x for point in points], [point.y for point in points]


def cut(text: str, length: int) -> str:
    """A text, cut if it is longer than a number of characters."""
    return text if len(text) <= length else f'{text[: length - 1]}…'


def place_labels(panel: Axes, points: Sequence[Point]) -> None:
    """Put each label where it covers the least of other labels, markers and lines.

    Args:
        panel: Where the points are drawn, with its final place and limits.
        points: The points.

    Example:
        >>> from matplotlib.figure import Figure
        >>> panel = Figure().subplots()
        >>> place_labels(panel, [Point('here', 0.5, 0.5)])
        >>> [text.get_text() for text in panel.texts]
        ['here']
    """
    scale = panel.figure.dpi / 72
    pixels = panel.transData.transform(np.reshape([(point.x, point.y) for point in points], (-1, 2)))
    lines = np.concatenate([np.empty((0, 2)), *(_along(panel, line) for line in panel.lines)])
    # Left, bottom, right and top in pixels.
    taken = np.concatenate([_around(pixels, 6 * scale), _around(lines, 2 * scale)])
    weights = np.repeat([4.0, 1.0], [len(pixels), len(lines)])
    for point, pixel in sorted(zip(points, pixels, strict=True), key=lambda pair: -pair[1][1]):
        name = cut(point.label, 32) + (' †' if point.flagged else '')
        sample = panel.text(0, 0, name, **_LABEL)
        extent = sample.get_window_extent()
        sample.remove()
        boxes = _places(pixel, extent.width + _GAP * scale, extent.height, scale)
        costs = _shared(boxes, taken) @ weights + np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) / 2 - pixel, axis=1)
        costs += 20 * (extent.width * extent.height - _shared(boxes, panel.bbox.extents[None])[:, 0])
        best = boxes[costs.argmin()]
        taken, weights = np.vstack([taken, best]), np.append(weights, 6)
        panel.annotate(
            name,
            (point.x, point.y),
            (best[:2] - pixel) / scale + [_GAP / 2, 0],
            textcoords='offset points',
            arrowprops=dict(arrowstyle='-', color='#777777', linewidth=0.7, shrinkA=0, shrinkB=4),
            **_LABEL,
        )


def _along(panel: Axes, line: Line2D, step: float = 5) -> np.ndarray:
    """Pixels that a line passes."""
    corners = panel.transData.transform(np.column_stack(line.get_data()).astype(float).reshape(-1, 2))
    parts = [
        np.linspace(start, end, 2 + int(np.hypot(*(end - start)) / step))
        for start, end in zip(corners, corners[1:], strict=False)
    ]
    return np.concatenate([np.empty((0, 2)), *parts])


def _around(pixels: np.ndarray, half: float) -> np.ndarray:
    return np.hstack([pixels - half, pixels + half])


def _places(pixel: np.ndarray, width: float, height: float, scale: float) -> np.ndarray:
    """Boxes of that size all around a pixel, the nearest first."""
    corners = [
        pixel + distance * scale * direction - [width, height] * (1 - direction) / 2
        for distance in _DISTANCES
        for direction in _DIRECTIONS
    ]
    return np.hstack([corners, np.add(corners, [width, height])])


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Area that each of the boxes shares with each of the others."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (high - low).clip(0).prod(axis=2)
