"""What must be known of an image before its annotations can be read: its size, how it is turned, what it looks like."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmfasternet.datasets.images import open_image, read_image
from mmfasternet.errors import UserError

__all__ = ['ImageFacts', 'look_at']

# PIL calls larger images a bomb. OpenCV refuses those of more than 2^30 pixels.
_DECODED = 178_956_970
_READABLE = 2**30
_ORIENTATION = 0x0112


@dataclass
class ImageFacts:
    """The facts of an image.

    Args:
        stored: Width and height of the file's pixels.
        upright: Width and height as OpenCV and mmdet show it, turned by its EXIF data.
        orientation: EXIF's number of how the stored pixels are turned or mirrored, 1 to 8.
        deep: Whether it has more than eight bits a channel.
        fingerprint: See :class:`SourceImage`.
    """

    stored: tuple[int, int]
    upright: tuple[int, int]
    orientation: int
    deep: bool
    fingerprint: np.ndarray | None


def look_at(path: Path) -> ImageFacts:
    """Look at an image, and decode it to make sure that it is complete.

    Args:
        path: The image.

    Returns:
        Its facts.

    Raises:
        UserError: If it can't be read, is cut off, or has more pixels than OpenCV reads.

    Example:
        >>> Image.new('RGB', (64, 48)).save('example.png')
        >>> look_at(Path('example.png')).upright
        (64, 48)
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of broken EXIF data, which OpenCV ignores too
        return _look_at(path)


def _look_at(path: Path) -> ImageFacts:
    with open_image(path) as image:
        stored, deep = image.size, image.mode.startswith(('I', 'F'))
        orientation = image.getexif().get(_ORIENTATION, 1)
        pixels = stored[0] * stored[1]
        if pixels > _READABLE:
            raise UserError(f'{path} has {stored[0]} × {stored[1]} pixels, more than OpenCV reads')
        fingerprint = _fingerprint(image) if pixels <= _DECODED else None
    if not cv2.haveImageReader(str(path)):
        raise UserError(f'{path} is an image that OpenCV, and so mmdet, cannot read; save it as PNG or JPEG')
    if orientation not in range(2, 9):
        return ImageFacts(stored, stored, 1, deep, fingerprint)
    # Not every format's reader turns the image.
    height, width = read_image(path).shape[:2]
    orientation = 1 if orientation >= 5 and (width, height) == stored and width != height else orientation
    return ImageFacts(stored, (width, height), orientation, deep, fingerprint)


def _fingerprint(image: Image.Image) -> np.ndarray:
    """Whether each cell of a coarse grid is darker than the one to its right: alike in copies of another size or
    quality."""
    image.draft('L', (17 * 8, 16 * 8))  # a JPEG is decoded at an eighth of its size, if that is enough
    if image.mode.startswith(('I', 'F')):
        values = np.asarray(image, np.float32)
        low, high = values.min(), values.max()
        image = Image.fromarray(((values - low) / max(high - low, 1) * 255).astype(np.uint8))
    cells = np.asarray(image.convert('L').resize((17, 16), Image.Resampling.BOX), np.int16)
    return (cells[:, 1:] > cells[:, :-1]).ravel()
