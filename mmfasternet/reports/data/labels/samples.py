"""A few images of each class, those of semantic maps beside their maps."""

from functools import partial
from pathlib import Path

import numpy as np

from mmfasternet.datasets.formats import LabelledImage, Source
from mmfasternet.datasets.images import read_image
from mmfasternet.errors import UserError
from mmfasternet.reports.data.samples import choose_classes, choose_spread, frame_around, readable, unreadable
from mmfasternet.reports.data.words import count_of, side_by_side
from mmfasternet.reports.outlines import OutlinedImage, outline_image, shorten
from mmfasternet.reports.page import Gallery
from mmfasternet.reports.regions import draw_map, find_regions

from .counts import percent
from .measures import LabelMeasures, read_labels

__all__ = ['show_image', 'show_images_of_classes', 'show_map', 'show_maps_of_classes']

# Images of each class: more where there are few classes. Maps are shown beside their images.
_FEW, _OF_FEW, _OF_MANY = 4, 8, 4
_MAPS_OF_FEW, _MAPS_OF_MANY = 4, 2


def show_images_of_classes(source: Source, measured: LabelMeasures) -> list[str | Gallery]:
    """Show images of each class.

    Args:
        source: The data.
        measured: Its images.

    Returns:
        Parts of a page; what can't be read is skipped and said.
    """
    counts = measured.counts.sum(1)
    order, cut = choose_classes(counts)
    each = _OF_FEW if len(order) <= _FEW else _OF_MANY
    parts, faults = [f'Up to {each} images of each class, from small to large.{cut}'], []
    for kind in order:
        places = np.flatnonzero(measured.has[:, kind])
        chosen = places[choose_spread(measured.shapes[places].prod(1), measured.scenes[places], each)].tolist()
        images = readable([partial(show_image, source, source.images[place]) for place in chosen], faults)
        if images:
            title = f'{source.classes[kind]}: {count_of(int(counts[kind]), "image")}'
            parts.append(Gallery(images, title, small=True))
    return [*parts, *unreadable(faults)]


def show_maps_of_classes(source: Source, measured: LabelMeasures, maps: str | Path) -> list[str | Gallery]:
    """Show the largest region of each class in some images, without and with the map.

    Args:
        source: The data.
        measured: Its images.
        maps: Folder of their maps.

    Returns:
        Parts of a page; what can't be read is skipped and said.
    """
    counts = measured.counts.sum(1)
    order, cut = choose_classes(counts)
    each = _MAPS_OF_FEW if len(order) <= _FEW else _MAPS_OF_MANY
    parts = [
        f'Up to {each} images with each class, from those that have little of it to those that have much: around its '
        f'largest region, first as the image is, then with its map. The class is filled, others are outlined.{cut}'
    ]
    faults: list[str] = []
    for kind in order:
        places = np.flatnonzero(measured.pixels[:, kind])
        shares = measured.shares_of_images[places, kind]
        chosen = places[choose_spread(shares, measured.scenes[places], each)].tolist()
        shows = [
            partial(_pair, source, source.images[place], maps, kind, float(measured.shares_of_images[place, kind]))
            for place in chosen
        ]
        images = [image for pair in readable(shows, faults) for image in pair]
        if images:
            title = f'{source.classes[kind]}: {count_of(int(counts[kind]), "image")}'
            parts.append(Gallery(images, title, pairs=True, small=True))
    return [*parts, *unreadable(faults)]


def show_image(source: Source, image: LabelledImage) -> OutlinedImage:
    """Show an image of a class.

    Args:
        source: The source.
        image: One of its images.

    Returns:
        The image.

    Raises:
        UserError: If it can't be read, or is not what it was.
    """
    size = side_by_side((image.width, image.height))
    return outline_image(_pixels(source, image), [], f'{image.labels[0]}, {size} px; {_name(image)}')


def show_map(source: Source, maps: str | Path, image: LabelledImage) -> OutlinedImage:
    """Show an image with its semantic map.

    Args:
        source: The source.
        maps: Folder of the maps.
        image: One of the images.

    Returns:
        The image.

    Raises:
        UserError: If it can't be read, or is not what it was.
    """
    return draw_map(_pixels(source, image), read_labels(maps, image), source.classes, _name(image))


def _pair(
    source: Source, image: LabelledImage, maps: str | Path, kind: int, share: float
) -> tuple[OutlinedImage, OutlinedImage]:
    pixels, labels = _pixels(source, image), read_labels(maps, image)
    found = find_regions(labels, kind, most=1)
    size = (image.width, image.height)
    left, top, wide, high = frame_around(found[0].box, size) if found else (0, 0, *size)
    part = np.s_[top : top + high, left : left + wide]
    plain = outline_image(pixels[part], [], _name(image))
    caption = f'{source.classes[kind]}: {percent(share)}% of the image'
    return plain, draw_map(pixels[part], np.ascontiguousarray(labels[part]), source.classes, caption, focus=kind)


def _pixels(source: Source, image: LabelledImage) -> np.ndarray:
    pixels = read_image(source.root / image.path)
    if pixels.shape[:2] != (image.height, image.width):
        raise UserError(f'{image.path} has another size than before')
    return pixels


def _name(image: LabelledImage) -> str:
    return f'{image.split}, {shorten(image.path.name, 40)}'
