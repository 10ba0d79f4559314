"""The objects of a source as columns, for what is counted of them."""

from dataclasses import dataclass

import numpy as np

from mmfasternet.datasets.formats import Source
from mmfasternet.datasets.formats.splitting import SPLITS

from .copies import scenes_of

__all__ = ['Measures', 'measure']


@dataclass(frozen=True)
class Measures:
    """What is counted of M images and their N objects.

    Args:
        shapes: Width and height of each image, pixels, float (M, 2).
        scales: By what each image is resized, float (M,).
        splits: Place in ``SPLITS`` of each image, int (M,).
        scenes: Of each image; copies share a number, int (M,).
        owners: Place of each object's image, int (N,).
        kinds: Place of each object's class, int (N,).
        boxes: x, y, width and height of each object, pixels, float (N, 4).
        areas: Of each object, in its image, square pixels, float (N,).
        masked: Whether each object has a mask, bool (N,).
    """

    shapes: np.ndarray
    scales: np.ndarray
    splits: np.ndarray
    scenes: np.ndarray
    owners: np.ndarray
    kinds: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    masked: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Square root of each box's area in the resized image, pixels, float (N,)."""
        return np.sqrt(self.boxes[:, 2] * self.boxes[:, 3]) * self.scales[self.owners]

    @property
    def sides(self) -> np.ndarray:
        """Split of each object, as that of its image, int (N,)."""
        return self.splits[self.owners]

    @property
    def per_image(self) -> np.ndarray:
        """Number of each image's objects, int (M,)."""
        return np.bincount(self.owners, minlength=len(self.shapes))

    def count(self, classes: int) -> np.ndarray:
        """Count the objects.

        Args:
            classes: Number of classes.

        Returns:
            Objects of each class in each split, int (classes, 3).
        """
        return np.bincount(self.kinds * 3 + self.sides, minlength=classes * 3).reshape(classes, 3)


def measure(source: Source, image_size: tuple[int, int]) -> Measures:
    """Measure what a source holds.

    Args:
        source: Images of which each has its split.
        image_size: Upper limits of an image's longer and shorter side, to which it is resized, pixels.

    Returns:
        The columns.

    Example:
        >>> from mmfasternet.datasets.formats import Notes, SourceImage, SourceObject
        >>> cat = SourceObject('cat', [0, 0, 40, 90], 3600, [], False)
        >>> image = SourceImage('a.jpg', 640, 480, 'train', [cat], None)
        >>> float(measure(Source('coco', '.', ['cat'], [image], Notes()), (320, 240)).sizes[0])
        30.0
    """
    images, numbers = source.images, {name: number for number, name in enumerate(source.classes)}
    shapes = np.array([(image.width, image.height) for image in images], float).reshape(-1, 2)
    objects = [(place, item) for place, image in enumerate(images) for item in image.objects]
    return Measures(
        shapes=shapes,
        scales=np.minimum(image_size[0] / shapes.max(1), image_size[1] / shapes.min(1)),
        splits=np.array([SPLITS.index(image.split) for image in images], int),
        scenes=scenes_of(images),
        owners=np.array([place for place, _ in objects], int),
        kinds=np.array([numbers[item.label] for _, item in objects], int),
        boxes=np.array([item.box for _, item in objects], float).reshape(-1, 4),
        areas=np.array([item.area for _, item in objects], float),
        masked=np.array([bool(item.segmentation) for _, item in objects], bool),
    )
