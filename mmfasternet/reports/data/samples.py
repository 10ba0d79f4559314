"""Which images or objects are shown of many, and which part of an image."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from mmfasternet.errors import UserError
from mmfasternet.reports.outlines import CANVAS

from .words import listed

__all__ = ['choose_classes', 'choose_spread', 'frame_around', 'readable', 'unreadable']

# Classes that are shown.
_SHOWN = 16
# Members of a part that are tried for one of another scene than the others.
_TRIED = 50
# The part of an image around something is so many times as wide and as high, and at least so many pixels wide.
_AROUND, _NARROWEST = 2.2, 96

_Shown = TypeVar('_Shown')  # an image, or several


def choose_classes(counts: np.ndarray) -> tuple[list[int], str]:
    """Choose the classes of which samples are shown.

    Args:
        counts: How often each class occurs, int (classes,).

    Returns:
        The classes, the most frequent first, and a sentence if they are not all.

    Example:
        >>> choose_classes(np.array([3, 9]))
        ([1, 0], '')
    """
    order = np.argsort(-counts, kind='stable').tolist()
    if len(order) <= _SHOWN:
        return order, ''
    half = _SHOWN // 2
    said = f' The {half} most frequent and the {half} rarest of {len(order)} classes are shown.'
    return order[:half] + order[-half:], said


def choose_spread(values: np.ndarray, scenes: np.ndarray, count: int) -> list[int]:
    """Choose some of many, from small to large, of as many scenes as possible.

    Args:
        values: How large each is, (N,).
        scenes: Of each, int (N,).
        count: At most so many.

    Returns:
        Their places.

    Example:
        >>> choose_spread(np.array([9, 5, 7]), np.array([0, 0, 1]), 2)
        [2, 0]
    """
    order = np.argsort(values, kind='stable')
    chosen, taken = [], set()
    for part in np.array_split(order, min(count, len(order)) or 1):
        if not len(part):
            continue
        from_middle = part[np.argsort(np.abs(np.arange(len(part)) - len(part) // 2), kind='stable')].tolist()
        tried = from_middle[:_TRIED]
        place = next((place for place in tried if int(scenes[place]) not in taken), from_middle[0])
        chosen.append(place)
        taken.add(int(scenes[place]))
    return chosen


def frame_around(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of an image around a box, of the canvas's shape as far as the image reaches.

    Args:
        box: x, y, width and height, pixels.
        size: Width and height of the image, pixels.

    Returns:
        x, y, width and height.

    Example:
        >>> frame_around((100, 100, 40, 40), (640, 480))
        (62, 76, 117, 88)
    """
    x, y, width, height = box
    wide = max(_NARROWEST, _AROUND * width, _AROUND * height * CANVAS[0] / CANVAS[1])
    high = wide * CANVAS[1] / CANVAS[0]
    wide, high = min(round(wide), size[0]), min(round(high), size[1])
    left = round(min(max(0, x + (width - wide) / 2), size[0] - wide))
    top = round(min(max(0, y + (height - high) / 2), size[1] - high))
    return left, top, wide, high


def readable(shows: list[Callable[[], _Shown]], faults: list[str]) -> list[_Shown]:
    """The images that can be shown.

    Args:
        shows: Make them.
        faults: Why others can't be shown is added to these.

    Returns:
        The images.
    """
    images = []
    for show in shows:
        try:
            images.append(show())
        except UserError as error:
            faults.append(str(error))
    return images


def unreadable(faults: list[str]) -> list[str]:
    """Say which images can't be shown.

    Args:
        faults: From :func:`readable`.

    Returns:
        A sentence, or none.
    """
    return [f'Not shown: {listed(dict.fromkeys(faults))}.'] if faults else []
