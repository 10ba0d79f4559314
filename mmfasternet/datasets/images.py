"""The images in a folder, and what is in an image."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmfasternet.errors import UserError

__all__ = ['find_images', 'open_image', 'read_image']

_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


def find_images(path: str | Path) -> list[Path]:
    """Find the images at a path; those of a folder are found by their names, and not opened.

    Args:
        path: An image, or a folder of images.

    Returns:
        Their paths, in alphabetical order.

    Raises:
        UserError: If there is no image, or the only one can't be read.

    Example:
        >>> Image.new('RGB', (64, 48)).save('example.png')
        >>> find_images('example.png')
        [PosixPath('example.png')]
    """
    path = Path(path)
    if not path.is_dir():
        with open_image(path):
            return [path]
    try:
        paths = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES and not file.is_dir())
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror})') from error
    if not paths:
        raise UserError(f'no image in {path}: looked for {", ".join(_SUFFIXES)}')
    return paths


@contextlib.contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """Open an image of any size by PIL; its pixels are read by what the block does with it.

    PIL refuses images of more than 179 megapixels, such as those of satellites, and OpenCV, which trains on them, does
    not.

    Args:
        path: The image.

    Yields:
        PIL's image.

    Raises:
        UserError: If it can't be read as an image, here or in the block.

    Example:
        >>> Image.new('RGB', (64, 48)).save('example.png')
        >>> with open_image('example.png') as image:
        ...     image.size
        (64, 48)
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:  # what PIL's decoders raise
        if isinstance(error, UserError):
            raise
        raise UserError(f'{path} cannot be read as an image: {error or type(error).__name__}') from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as mmdet does: by OpenCV, turned upright as its EXIF data says.

    Args:
        path: The image.

    Returns:
        Blue, green and red of its pixels, uint8 (H, W, 3).

    Raises:
        UserError: If it can't be read as an image, or is cut off.

    Example:
        >>> Image.new('RGB', (64, 48)).save('example.png')
        >>> read_image('example.png').shape
        (48, 64, 3)
    """
    try:
        data = Path(path).read_bytes()
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror})') from error
    except (cv2.error, MemoryError) as error:
        raise UserError(f'{path} cannot be read as an image: {error}') from error
    if image is None:
        raise UserError(f'{path} cannot be read as an image, or is cut off')
    if data.startswith(b'\xff\xd8'):
        _check_complete(path)
    return image


def _check_complete(path: str | Path) -> None:
    """Of a JPEG that is cut off, OpenCV fills the rest with grey; PIL refuses it, also when it decodes an eighth."""
    with open_image(path) as image, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of broken EXIF data, which OpenCV ignores too
        image.draft('L', (image.width // 8, image.height // 8))
        image.load()
