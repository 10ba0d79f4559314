"""Pictures that the studies look at: a user's own, or photographs that scikit-image brings along."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mmfasternet.engine.inference import find_pictures
from mmfasternet.errors import UserError

__all__ = ['PHOTOGRAPHS', 'photographs', 'read_square']

# The colour photographs that lie in its wheel; it would download others.
PHOTOGRAPHS = ('astronaut.png', 'chelsea.png', 'coffee.png', 'motorcycle_left.png', 'rocket.jpg')


def photographs(images: str | Path | None = None) -> list[Path]:
    """Where the photographs lie.

    Args:
        images: A picture, or a folder of them. None means scikit-image's. Defaults to None.

    Returns:
        Their paths.

    Raises:
        UserError: If there is none, one can't be read, or scikit-image is missing.

    Example:
        >>> [path.stem for path in photographs()][:2]
        ['astronaut', 'chelsea']
    """
    if images is not None:
        return list(find_pictures(images))
    if find_spec('skimage') is None:
        raise UserError(
            'the photographs are those of scikit-image, which is not installed: pip install scikit-image, '
            'or name a folder of your own with --images'
        )
    import skimage

    return [Path(skimage.__file__).parent / 'data' / name for name in PHOTOGRAPHS]


def read_square(paths: Iterable[Path], pixels: int) -> Tensor:
    """Read pictures as squares: the middle of each, made as large as wanted.

    Args:
        paths: Files.
        pixels: Height and width in pixels.

    Returns:
        RGB of shape (N, 3, pixels, pixels), 0 to 255, uint8.

    Example:
        >>> read_square(photographs()[:1], 224).shape
        torch.Size([1, 3, 224, 224])
    """
    squares = []
    for path in paths:
        with Image.open(path) as image:
            squares.append(np.asarray(ImageOps.fit(image.convert('RGB'), (pixels, pixels), Image.Resampling.BICUBIC)))
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()
