"""An image with the regions of a semantic map, outlined and filled with the colours of their classes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mmfasternet.datasets.palette import has_background

from .outlines import COLOURS, Outline, OutlinedImage, outline_image

__all__ = ['Region', 'draw_map', 'find_regions']

# Pixels of the longer side of what is drawn, and of a region at least.
_LONGEST, _LEAST = 960, 12
# Regions that are drawn of each class, and labels of those that are wrong.
_MOST, _LABELS = 40, 12
# Share of a region's pixels, from which it is wrong, and of those of the image, from which a wrong one has a label.
_WRONG, _LABELLED = 0.5, 0.003


class Region(NamedTuple):
    """Pixels of a class that touch each other.

    Attributes:
        label: Number of the class.
        area: Number of pixels.
        box: x, y, width and height.
        polygons: x, y, x, y, … of its borders.
        wrong: Share of its pixels that is wrong.
    """

    label: int
    area: int
    box: tuple[int, int, int, int]
    polygons: list[list[float]]
    wrong: float


def find_regions(labels: np.ndarray, label: int, wrong: np.ndarray | None = None, most: int = _MOST) -> list[Region]:
    """Find the regions of a class.

    Args:
        labels: A semantic map, uint8 (H, W).
        label: Number of the class.
        wrong: Which pixels are wrong, bool (H, W). Defaults to None, none.
        most: Length of the list at most. Defaults to 40.

    Returns:
        The largest ones, the largest first; specks are left out.

    Example:
        >>> labels = np.zeros((20, 30), np.uint8)
        >>> labels[5:10, 5:15] = 1
        >>> [(region.area, region.box) for region in find_regions(labels, 1)]
        [(50, (5, 5, 10, 5))]
    """
    count, numbers, facts, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8), connectivity=8)
    order = 1 + np.argsort(-facts[1:, cv2.CC_STAT_AREA], kind='stable')[:most]
    missed = np.zeros(count) if wrong is None else np.bincount(numbers.ravel(), wrong.ravel(), count)
    regions = []
    for number in order.tolist():
        x, y, width, height, area = facts[number].tolist()
        if area < _LEAST:
            break
        mask = (numbers[y : y + height, x : x + width] == number).astype(np.uint8)
        lines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x, y))
        polygons = [line.ravel().tolist() for line in lines if len(line) > 2]
        regions.append(Region(label, area, (x, y, width, height), polygons, float(missed[number] / area)))
    return regions


def draw_map(
    pixels: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    caption: str,
    focus: int | None = None,
    wrong: np.ndarray | None = None,
    word: str = 'wrong',
) -> OutlinedImage:
    """Draw a semantic map over its image; of a background, nothing is drawn.

    Args:
        pixels: Blue, green and red, uint8 (H, W, 3).
        labels: The number of each pixel's class, uint8 (H, W); others than those of the classes are not drawn.
        classes: Their names.
        caption: Below the image.
        focus: A class beside which the others are faint and without labels, perhaps the background. Defaults to None.
        wrong: Which pixels are wrong, bool (H, W): regions of which they are more than half are dashed. Defaults to
            None, none.
        word: What the labels of these say before the class. Defaults to 'wrong'.

    Returns:
        What :class:`~mmfasternet.reports.page.Gallery` shows.

    Example:
        >>> labels = np.zeros((48, 64), np.uint8)
        >>> labels[10:40, 10:30] = 1
        >>> image = draw_map(np.zeros((48, 64, 3), np.uint8), labels, ['background', 'cat'], 'a.jpg')
        >>> [label.text for label in image.labels]
        ['cat']
    """
    height, width = labels.shape
    shrink = min(1, _LONGEST / max(height, width))
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        wrong = None if wrong is None else cv2.resize(wrong.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    drawn = [label for label in np.unique(labels).tolist() if label < len(classes)]
    if has_background(classes) and focus != 0:
        drawn = [label for label in drawn if label]
    regions = [region for label in drawn for region in find_regions(labels, label, wrong)]
    # Those that matter come first, so that their labels have a place.
    regions.sort(key=lambda region: (region.label != focus, region.wrong <= _WRONG, -region.area))
    least = _LABELLED * labels.size
    return outline_image(pixels, list(_outlines(regions, classes, focus, word, least)), caption)


def _outlines(
    regions: list[Region], classes: Sequence[str], focus: int | None, word: str, least: float
) -> Iterator[Outline]:
    named, labelled = set(), 0
    for region in regions:
        is_wrong, faint, text = region.wrong > _WRONG, focus not in (None, region.label), ''
        if is_wrong and labelled < _LABELS and region.area >= least:
            text, labelled = f'{word}: {classes[region.label]}', labelled + 1
        elif not is_wrong and not faint and region.label not in named:
            text = classes[region.label]
            named.add(region.label)
        colour = COLOURS[region.label % len(COLOURS)]
        yield Outline(region.polygons, text, colour, dashed=is_wrong, faint=faint, filled=not faint)
