"""A file of a semantic map: its numbers, its colours, or both."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmfasternet.datasets.images import open_image
from mmfasternet.errors import UserError

__all__ = ['MapPixels', 'MapValues', 'read_map', 'values_in']

_CODE = np.array([1 << 16, 1 << 8, 1], np.int32)


class MapPixels(NamedTuple):
    """The pixels of a map.

    Attributes:
        numbers: int (H, W): gray values or indices of a palette; None if the map has colours alone.
        colours: int (H, W), codes as :func:`~mmfasternet.datasets.formats.class_list.code_of` gives them; None if the
            map is gray.
        has_palette: Whether the numbers are indices of a palette.
    """

    numbers: np.ndarray | None
    colours: np.ndarray | None
    has_palette: bool


class MapValues(NamedTuple):
    """The values that occur in a map.

    Attributes:
        numbers: As in :class:`MapPixels`.
        colours: As in :class:`MapPixels`.
        has_palette: As in :class:`MapPixels`.
        size: Width and height.
    """

    numbers: frozenset[int] | None
    colours: frozenset[int] | None
    has_palette: bool
    size: tuple[int, int]


def read_map(path: Path) -> MapPixels:
    """Read a map.

    Args:
        path: The file.

    Returns:
        Its pixels as stored.

    Raises:
        UserError: If it can't be read, or is a JPEG.

    Example:
        >>> from PIL import Image
        >>> Image.new('RGB', (4, 3), (0, 128, 1)).save('map.png')
        >>> pixels = read_map(Path('map.png'))
        >>> pixels.numbers is None, hex(pixels.colours[0, 0])
        (True, '0x8001')
    """
    with open_image(path) as image:
        if image.format in ('JPEG', 'MPO'):
            raise UserError(f'{path} is a semantic map in JPEG, whose compression changes the classes; export PNGs')
        if image.mode == 'P':
            palette = np.zeros((256, 3), np.int32)
            given = np.array(image.getpalette('RGB'), np.int32).reshape(-1, 3)[:256]
            palette[: len(given)] = given
            numbers = np.asarray(image).astype(np.int32)
            return MapPixels(numbers, (palette @ _CODE)[numbers], True)
        values = np.asarray(image)
    if values.ndim == 2:
        return MapPixels(values.astype(np.int32), None, False)
    if values.shape[2] < 3:  # gray with an alpha channel
        return MapPixels(values[..., 0].astype(np.int32), None, False)
    values = values[..., :3].astype(np.int32)
    gray = bool((values == values[..., :1]).all())
    return MapPixels(values[..., 0].astype(np.int32) if gray else None, values @ _CODE, False)


def values_in(path: Path) -> MapValues:
    """The values that occur in a map.

    Args:
        path: The file.

    Returns:
        Its numbers, its colours and its size.

    Raises:
        UserError: If it can't be read, or is a JPEG.

    Example:
        >>> from PIL import Image
        >>> Image.new('L', (4, 3), 7).save('map.png')
        >>> values_in(Path('map.png'))
        MapValues(numbers=frozenset({7}), colours=None, has_palette=False, size=(4, 3))
    """
    pixels = read_map(path)
    numbers, colours = (
        None if values is None else frozenset(np.unique(values).tolist()) for values in (pixels.numbers, pixels.colours)
    )
    shape = (pixels.colours if pixels.numbers is None else pixels.numbers).shape
    return MapValues(numbers, colours, pixels.has_palette, shape[::-1])
