"""The images that an experiment looks at: a user's own, or photographs that come with scikit-image."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mmfasternet.datasets import find_images, open_image
from mmfasternet.errors import UserError

__all__ = ['photographs', 'read_square']

# The color photographs in its wheel; it would download others.
_PHOTOGRAPHS = ('astronaut.png', 'chelsea.png', 'coffee.png', 'motorcycle_left.png', 'rocket.jpg')


def photographs(images: str | Path | None = None) -> list[Path]:
    """Find the photographs.

    Args:
        images: An image, or a folder of images. None means those of scikit-image. Defaults to None.

    Returns:
        Their paths.

    Raises:
        UserError: If there is none, one can't be read, or scikit-image is missing.

    Example:
        >>> [path.stem for path in photographs()][:2]
        ['astronaut', 'chelsea']
    """
    if images is not None:
        return find_images(images)
    if find_spec('skimage') is None:
        raise UserError(
            'the photographs come with scikit-image, which is not installed: pip install scikit-image, or give a '
            'folder of your own with --images'
        )
    import skimage

    return [Path(skimage.__file__).parent / 'data' / name for name in _PHOTOGRAPHS]


def read_square(paths: Iterable[Path], pixels: int) -> Tensor:
    """Read images, each cropped to its central square and resized: RGB of shape (N, 3, pixels, pixels), uint8."""
    squares = []
    for path in paths:
        with open_image(path) as image:
            squares.append(np.asarray(ImageOps.fit(image.convert('RGB'), (pixels, pixels), Image.Resampling.BICUBIC)))
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()
