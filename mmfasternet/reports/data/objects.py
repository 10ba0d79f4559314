"""A few objects of each class, with the outlines and names of all that is near."""

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from mmfasternet.datasets.formats import Source, SourceImage, SourceObject
from mmfasternet.datasets.images import read_image
from mmfasternet.errors import UserError
from mmfasternet.reports.outlines import COLOURS, Outline, OutlinedImage, box_corners, outline_image, shorten

from .measures import Measures
from .samples import choose_spread, frame_around

__all__ = ['choose_objects', 'show_image', 'show_object']

# Objects that are drawn in one image.
_DRAWN = 150


def choose_objects(measured: Measures, kind: int, count: int) -> list[int]:
    """Choose objects of a class, from small to large, of as many scenes as possible.

    Args:
        measured: All objects.
        kind: The class.
        count: At most so many.

    Returns:
        Their places.

    Example:
        >>> shapes, one = np.full((3, 2), 64.0), np.ones(3)
        >>> boxes = np.array([[0, 0, 9, 9], [0, 0, 5, 5], [0, 0, 7, 7]])
        >>> whole = np.arange(3)
        >>> measured = Measures(shapes, one, whole * 0, whole, whole, whole * 0, boxes, one, one > 1)
        >>> choose_objects(measured, 0, 4)
        [1, 2, 0]
    """
    places = np.flatnonzero(measured.kinds == kind)
    return places[choose_spread(measured.sizes[places], measured.scenes[measured.owners[places]], count)].tolist()


def show_object(source: Source, measured: Measures, place: int) -> OutlinedImage:
    """Show an object and what is around it.

    Args:
        source: The source.
        measured: Its objects.
        place: Of the object.

    Returns:
        The part of the image, with its outlines.

    Raises:
        UserError: If the image can't be read, or is not what it was.
    """
    owner = int(measured.owners[place])
    image = source.images[owner]
    item = image.objects[place - int(np.searchsorted(measured.owners, owner))]
    x, y, width, height = item.box
    caption = f'{width:.0f} × {height:.0f} px, {measured.sizes[place]:.0f} px after resizing; {_name(image)}'
    return _show(source, image, frame_around((x, y, width, height), (image.width, image.height)), item, caption)


def show_image(source: Source, image: SourceImage) -> OutlinedImage:
    """Show an image.

    Args:
        source: The source.
        image: One of its images.

    Returns:
        The image, with its outlines.

    Raises:
        UserError: If it can't be read, or is not what it was.
    """
    return _show(source, image, (0, 0, image.width, image.height), None, _name(image))


def _name(image: SourceImage) -> str:
    return f'{image.split}, {shorten(image.path.name, 40)}'


def _show(
    source: Source, image: SourceImage, frame: tuple[int, int, int, int], first: SourceObject | None, caption: str
) -> OutlinedImage:
    pixels = read_image(source.root / image.path)
    if pixels.shape[:2] != (image.height, image.width):
        raise UserError(f'{image.path} has another size than before')
    left, top, wide, high = frame
    items = [item for item in image.objects if item is not first and _in_frame(item, frame)]
    if first:
        items.insert(0, first)
    if len(items) > _DRAWN:
        caption += f'; {len(items) - _DRAWN} more objects are not drawn'
    outlines, named = [], set()
    for item in items[:_DRAWN]:
        kind = source.classes.index(item.label)
        # A class is named once in an image, unless others have its colour.
        label = '' if item.label in named and len(source.classes) <= len(COLOURS) else item.label
        named.add(item.label)
        colour = COLOURS[kind % len(COLOURS)]
        outlines.append(Outline(_lines(item, frame), label, colour, faint=first not in (None, item)))
    return outline_image(pixels[top : top + high, left : left + wide], outlines, caption)


def _in_frame(item: SourceObject, frame: tuple[int, int, int, int]) -> bool:
    """Whether more than its border is in the frame."""
    left, top, wide, high = frame
    x, y, width, height = item.box
    return min(x + width, left + wide) - max(x, left) > 2 and min(y + height, top + high) - max(y, top) > 2


def _lines(item: SourceObject, frame: tuple[int, int, int, int]) -> list[list[float]]:
    """The outline of an object in the frame, and where it leaves the frame along its border."""
    left, top, wide, high = frame
    corner, limits = np.array([left, top]), np.array([wide, high])
    return [
        np.clip(np.asarray(polygon, float).reshape(-1, 2) - corner, 0, limits).ravel().tolist()
        for polygon in _polygons(item)
    ]


def _polygons(item: SourceObject) -> list[list[float]]:
    polygons = item.segmentation
    if isinstance(polygons, dict):
        lines, _ = cv2.findContours(coco_mask.decode(polygons), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        polygons = [line.ravel().tolist() for line in lines if len(line) > 2]
    return polygons or [box_corners(*item.box)]
