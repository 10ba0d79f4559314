"""Colours of classes."""

import colorsys
from collections.abc import Sequence

__all__ = ['has_background', 'make_palette']


def has_background(classes: Sequence[str]) -> bool:
    """Whether the first class of semantic maps is the background.

    Args:
        classes: Their names.

    Returns:
        Whether its name says so.

    Example:
        >>> has_background(['_background_', 'cat']), has_background(['sky', 'sea'])
        (True, False)
    """
    return bool(classes) and classes[0].strip('_').lower() == 'background'


def make_palette(number: int, background: bool = False) -> list[tuple[int, int, int]]:
    """As many colours, far apart in hue.

    Args:
        number: How many.
        background: Whether the first class is the background, which is black. Defaults to False.

    Returns:
        Red, green and blue of each, from 0 to 255.

    Example:
        >>> make_palette(2, background=True)
        [(0, 0, 0), (230, 34, 34)]
    """
    hues = [index * 0.618 % 1 for index in range(number - background)]
    colours = [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.85, 0.9)) for hue in hues]
    return [(0, 0, 0)] * background + colours
