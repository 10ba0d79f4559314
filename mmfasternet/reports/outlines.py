"""An image with the outlines and the names of its objects, which a browser draws over it."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from mmfasternet.errors import printable

__all__ = ['CANVAS', 'COLOURS', 'Label', 'Outline', 'OutlinedImage', 'box_corners', 'outline_image', 'shorten']

#: Width and height of the canvas that each image is centred on, in its own units.
CANVAS = (480, 360)
#: Bright colours of classes, far apart from each other.
COLOURS = (
    *('#ff5d62', '#38bdf8', '#ffd43b', '#4ade80', '#c792ff', '#ff9f38'),
    *('#22d3c5', '#ff8ad4', '#b4e637', '#8ea8ff', '#e5ac7c', '#f5f5f5'),
)

_FONT, _GAP = 18, 4
_LONGEST = 24  # characters of a label
_NARROW, _WIDE = "iljtfr.,:;'|!()[] ", '@mwMWQO%&…'
_CORNERS = 2000  # of one polygon; those of a smooth outline are fewer


@dataclass(frozen=True)
class Outline:
    """The outline of an object, in pixels of its image.

    Args:
        polygons: x, y, x, y, … of each closed line; :func:`box_corners` gives that of a box.
        label: What stands beside it. Defaults to nothing.
        colour: In CSS. Defaults to the first of ``COLOURS``.
        dashed: Whether the line is dashed. Defaults to False.
        faint: Whether the line is thin, beside others that matter more. Defaults to False.
        filled: Whether the colour fills it too, so that the image shines through. Defaults to False.
    """

    polygons: list[list[float]]
    label: str = ''
    colour: str = COLOURS[0]
    dashed: bool = False
    faint: bool = False
    filled: bool = False


class Label(NamedTuple):
    """A text on the canvas: the left end of its base line, and its colour in CSS."""

    text: str
    x: float
    y: float
    colour: str


@dataclass(frozen=True)
class OutlinedImage:
    """What :func:`outline_image` makes: an image on the canvas.

    Args:
        jpeg: The image, encoded.
        frame: x, y, width and height of the image on the canvas.
        paths: SVG path of each outline, and the outline.
        labels: Those that have a place.
        caption: Below the image.
    """

    jpeg: bytes
    frame: tuple[float, float, float, float]
    paths: list[tuple[str, Outline]]
    labels: list[Label]
    caption: str


def box_corners(x: float, y: float, width: float, height: float) -> list[float]:
    """The closed line around a box.

    Args:
        x: Left border, in pixels.
        y: Upper border.
        width: In pixels.
        height: In pixels.

    Returns:
        x, y, x, y, … of its corners.

    Example:
        >>> box_corners(10, 20, 5, 6)
        [10, 20, 15, 20, 15, 26, 10, 26]
    """
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def outline_image(pixels: np.ndarray, outlines: list[Outline], caption: str, side: int = 480) -> OutlinedImage:
    """Put an image, its outlines and their labels on a canvas.

    A label stands beside its outline, inside the canvas. One that would cover others is left out; it still shows when
    the pointer rests on the outline.

    Args:
        pixels: Blue, green and red, uint8 (H, W, 3).
        outlines: In the order in which they are drawn, and have their labels placed.
        caption: Below the image.
        side: Longest side of the encoded image, in pixels. Defaults to 480.

    Returns:
        What :class:`~mmfasternet.reports.page.Gallery` shows.

    Example:
        >>> cat = Outline([box_corners(10, 10, 20, 30)], 'cat')
        >>> image = outline_image(np.zeros((48, 64, 3), np.uint8), [cat], 'a.jpg')
        >>> image.paths[0][0]
        'M75 75L225 75L225 300L75 300Z'
    """
    height, width = pixels.shape[:2]
    if max(width, height) > side:
        shrink = side / max(width, height)
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()
    scale = min(CANVAS[0] / width, CANVAS[1] / height)
    corner = np.array([CANVAS[0] - width * scale, CANVAS[1] - height * scale]) / 2
    frame = (*corner.round(1).tolist(), round(width * scale, 1), round(height * scale, 1))
    lines = [[_on_canvas(polygon, scale, corner) for polygon in outline.polygons] for outline in outlines]
    drawn = [(outline, points) for outline, points in zip(outlines, lines, strict=True) if points]
    paths = [(''.join(map(_path, points)), outline) for outline, points in drawn]
    return OutlinedImage(jpeg, frame, paths, _place_labels(drawn), caption)


def shorten(text: object, longest: int) -> str:
    """A text whose middle is left out where it is too long, with characters that can't be printed as escapes.

    Args:
        text: Any.
        longest: Characters that it may have.

    Returns:
        The text.

    Example:
        >>> shorten('a_very_long_name.jpg', 11)
        'a_ver…e.jpg'
    """
    text = str(text)
    # Escapes make a text longer; nothing beyond these characters would be shown.
    text = printable(text if len(text) <= 2 * longest else f'{text[:longest]}{text[-longest:]}')
    kept = longest - 1
    return text if len(text) <= longest else f'{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}'


def _on_canvas(polygon: list[float], scale: float, corner: np.ndarray) -> np.ndarray:
    """Its corners on the canvas, without those that nobody would see."""
    points = np.asarray(polygon, np.float32).reshape(-1, 2) * scale + corner.astype(np.float32)
    points = cv2.approxPolyDP(points, 0.4, True).reshape(-1, 2)
    return points[:: len(points) // _CORNERS + 1]


def _path(points: np.ndarray) -> str:
    return 'M' + 'L'.join(f'{x:.4g} {y:.4g}' for x, y in points) + 'Z'


def _place_labels(drawn: list[tuple[Outline, list[np.ndarray]]]) -> list[Label]:
    labels, taken = [], np.zeros((0, 4))
    for outline, lines in drawn:
        text = shorten(outline.label, _LONGEST)
        if not text:
            continue
        points = np.concatenate(lines)
        width = _width(text)
        for x, top in _places(points.min(0), points.max(0), width):
            place = np.array([x, top, x + width, top + _FONT])
            if not ((place[:2] < taken[:, 2:]) & (place[2:] > taken[:, :2])).all(1).any():
                taken = np.vstack([taken, place])
                labels.append(Label(text, round(x, 1), round(top + 0.8 * _FONT, 1), outline.colour))
                break
    return labels


def _places(low: np.ndarray, high: np.ndarray, width: float) -> Iterator[tuple[float, float]]:
    """Left and upper border of a label: above the object, below it, in its upper and its lower corner, beside it."""
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    for x, y in (
        (left, top - _FONT - _GAP),
        (left, bottom + _GAP),
        (left + _GAP, top + _GAP),
        (left + _GAP, bottom - _FONT - _GAP),
        (right + _GAP, (top + bottom - _FONT) / 2),
        (left - width - _GAP, (top + bottom - _FONT) / 2),
        (right - width, top - _FONT - _GAP),
        (right - width, bottom + _GAP),
    ):
        # A label that is wider than the canvas starts at its left border.
        yield max(_GAP, min(x, CANVAS[0] - width - _GAP)), max(_GAP, min(y, CANVAS[1] - _FONT - _GAP))


def _width(text: str) -> float:
    """At least the width of a text in the fonts that viewers have, in bold."""
    return _FONT * sum(map(_character_width, text))


def _character_width(character: str) -> float:
    if unicodedata.combining(character):
        return 0
    if unicodedata.east_asian_width(character) in 'WF':
        return 1
    if character in _WIDE:
        return 1.1
    return 0.42 if character in _NARROW else 0.8 if character.isupper() else 0.7
