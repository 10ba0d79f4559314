"""A PNG for each object: ``masks/NAME/*.png``, or ``NAME/masks/*.png``. Frame: the size of the PNG tells it."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmfasternet.datasets.images import open_image
from mmfasternet.errors import UserError

from .files import SourceFiles, split_of
from .parse import read_lines
from .source import Notes, Record, Shape

__all__ = ['find_masks', 'read_masks']


def find_masks(files: SourceFiles) -> dict[Path, list[Path]]:
    """The images that have masks.

    The masks of an image are in a folder ``masks``: in a folder there that has the name of the image, or directly if
    ``masks`` is in a folder of that name. Folders between these and a PNG are classes.

    Args:
        files: The source.

    Returns:
        Image → its PNGs.

    Example:
        >>> for name in ('set/images/a.jpg', 'set/masks/a/cat/1.png'):
        ...     Path(name).parent.mkdir(parents=True, exist_ok=True)
        ...     Path(name).touch()
        >>> find_masks(SourceFiles(Path('set'), Notes()))
        {PosixPath('images/a.jpg'): [PosixPath('masks/a/cat/1.png')]}
    """
    places = {path: _after_masks(path) for path in files.images}
    by_stem: dict[str, list[Path]] = {}
    for path in (path for path, place in places.items() if place is None):
        by_stem.setdefault(path.stem, []).append(path)
    found: dict[Path, list[Path]] = {}
    for path, place in places.items():
        if place is None:
            continue
        for name in (*path.parts[:place][-2:-1], *path.parts[place:-1][:1]):
            # Several splits may have images of the same name; the nearest is meant.
            if images := by_stem.get(name):
                nearest = max(images, key=lambda image: len(os.path.commonprefix([image.parts, path.parts])))
                found.setdefault(nearest, []).append(path)
    return found


def read_masks(files: SourceFiles, notes: Notes) -> tuple[list[Record], list[str]]:
    """Read the masks of all images below a source.

    Args:
        files: The source.
        notes: What is repaired or left out is noted here.

    Returns:
        The images, and the classes in alphabetical order. Without folders of classes there is one, named by
        ``classes.txt`` or else called object.
    """
    found = find_masks(files)
    files.set_aside(path for paths in found.values() for path in paths)
    named = [
        name for path in files.ending('.txt') if path.name == 'classes.txt' for name in read_lines(files.root / path)
    ]
    single = named[0] if len(named) == 1 else 'object'
    records = []
    for image, paths in found.items():
        record = Record(str(image), image, [], _size(files.root / paths[0]), split_of(image))
        for path in paths:
            folders = [name for name in path.parts[_after_masks(path) : -1] if name != image.stem]
            record.shapes.append(Shape(folders[-1] if folders else single, str(path), mask=_drawer(files.root / path)))
        records.append(record)
    classes = sorted({shape.label for record in records for shape in record.shapes})
    if classes == [single] and not named:
        notes.remarks.append('the masks are in no folders of classes: their only class is called object')
    return records, classes


def _after_masks(path: Path) -> int | None:
    """The place after the folder ``masks`` in a path."""
    return next((place + 1 for place, part in enumerate(path.parts[:-1]) if part.lower() == 'masks'), None)


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with open_image(path) as image:
            return image.size
    except UserError:
        return None


def _drawer(path: Path) -> Callable[[int, int], np.ndarray]:
    def draw(width: int, height: int) -> np.ndarray:
        try:
            with open_image(path) as image:
                size = image.size
                values = np.asarray(image) if size == (width, height) else None
        except UserError as error:
            raise ValueError('it is no image, or was cut off') from error
        if values is None:
            raise ValueError(f'it has {size[0]} × {size[1]} pixels')
        if values.ndim == 3:  # colours, perhaps with an opaque alpha channel
            values = values[..., :3].max(axis=2)
        return values > 0

    return draw
