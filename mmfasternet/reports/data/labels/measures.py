"""The images of a source with classes and without objects as columns, for what is counted of them."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmfasternet.datasets.formats import LabelledImage, Source
from mmfasternet.datasets.formats.splitting import SPLITS
from mmfasternet.errors import UserError
from mmfasternet.reports.data.copies import scenes_of

__all__ = ['LabelMeasures', 'measure_labels', 'read_labels', 'resizing_ious']

# Semantic maps that are resized to see what that costs.
_RESIZED = 120


@dataclass(frozen=True)
class LabelMeasures:
    """What is counted of M images with C classes.

    Args:
        shapes: Width and height of each image, pixels, float (M, 2).
        splits: Place in ``SPLITS`` of each image, int (M,).
        scenes: Of each image; copies share a number, int (M,).
        has: Whether each image has each class, bool (M, C).
        pixels: How many pixels of each image each class has, and last how many are ignored, int (M, C + 1); None of
            images that have one class each.
    """

    shapes: np.ndarray
    splits: np.ndarray
    scenes: np.ndarray
    has: np.ndarray
    pixels: np.ndarray | None

    @property
    def used(self) -> list[int]:
        """Places of the splits that have images."""
        return np.unique(self.splits).tolist()

    @property
    def counts(self) -> np.ndarray:
        """Images of each class in each split, int (C, 3)."""
        return np.stack([self.has[self.splits == split].sum(0) for split in range(len(SPLITS))], 1)

    @property
    def shares(self) -> np.ndarray:
        """Of the pixels in each split that are not ignored, the share of each class, float (C, 3)."""
        sums = [self.pixels[self.splits == split, :-1].sum(0) for split in range(len(SPLITS))]
        return np.stack([sum / max(1, sum.sum()) for sum in sums], 1)

    @property
    def shares_of_images(self) -> np.ndarray:
        """Of the pixels of each image, the share of each class, float (M, C)."""
        return self.pixels[:, :-1] / self.pixels.sum(1, keepdims=True)


def measure_labels(source: Source) -> LabelMeasures:
    """Measure what a source holds.

    Args:
        source: Images of which each has its split, and the pixels of its classes if it has a semantic map.

    Returns:
        The columns.

    Example:
        >>> from mmfasternet.datasets.formats import Notes
        >>> image = LabelledImage('a.jpg', 640, 480, 'train', ['dog'], None)
        >>> measure_labels(Source('classes', '.', ['cat', 'dog'], [image], Notes())).counts.tolist()
        [[0, 0, 0], [1, 0, 0]]
    """
    images, has_maps = source.images, source.format == 'maps'
    pixels = np.array([image.pixels for image in images], int) if has_maps else None
    names = {name: number for number, name in enumerate(source.classes)}
    has = np.zeros((len(images), len(names)), bool)
    for place, image in enumerate(images):
        has[place, [names[label] for label in image.labels]] = True
    return LabelMeasures(
        shapes=np.array([(image.width, image.height) for image in images], float).reshape(-1, 2),
        splits=np.array([SPLITS.index(image.split) for image in images], int),
        scenes=scenes_of(images),
        has=has,
        pixels=pixels,
    )


def read_labels(maps: str | Path, image: LabelledImage) -> np.ndarray:
    """Read the semantic map of an image, as :func:`~mmfasternet.datasets.formats.convert_maps` has written it.

    Args:
        maps: Folder that it has written.
        image: The image.

    Returns:
        The number of each pixel's class, uint8 (H, W).

    Raises:
        UserError: If it can't be read, or is not of the image.
    """
    path = Path(maps, image.split, f'{image.path}.png')
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.shape != (image.height, image.width):
        raise UserError(f'{path} is not the semantic map of {image.path}; run the conversion again')
    return labels


def resizing_ious(source: Source, measured: LabelMeasures, maps: str | Path, image_size: tuple[int, int]) -> np.ndarray:
    """What resizing alone leaves of each class: the IoU of a semantic map that was made smaller and larger again.

    Args:
        source: The images.
        measured: The same, measured.
        maps: Folder of their maps, see :func:`read_labels`.
        image_size: Upper limits of an image's longer and shorter side, to which it is resized, pixels.

    Returns:
        IoU of each class over up to 120 images, float (C,); NaN of a class without a pixel.
    """
    classes = len(source.classes)
    each = max(3, _RESIZED // classes)
    places: set[int] = set()
    for kind in range(classes):
        with_class = np.flatnonzero(measured.has[:, kind])
        places.update(with_class[np.linspace(0, len(with_class) - 1, min(each, len(with_class)), dtype=int)].tolist())
    both, either = np.zeros(classes), np.zeros(classes)
    for place in sorted(places)[:: -(-len(places) // _RESIZED) or 1]:
        labels = read_labels(maps, source.images[place])
        resized = _resized(labels, image_size)
        known = labels < classes
        labels, resized = labels[known], resized[known]
        same = np.bincount(labels[labels == resized], minlength=classes)[:classes]
        both += same
        either += np.bincount(labels, minlength=classes) + np.bincount(resized, minlength=256)[:classes] - same
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def _resized(labels: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """A map that was made smaller, if the image is, and larger again."""
    height, width = labels.shape
    scale = min(1, image_size[0] / max(width, height), image_size[1] / min(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
