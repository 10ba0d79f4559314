"""A folder of images for each class: ``CLASS/…``, or in each of the folders of the splits, ``train/CLASS/…``."""

import re
from pathlib import Path

from mmfasternet.datasets.folders import check_folders
from mmfasternet.errors import UserError, printable

from .facts import look_at
from .files import SourceFiles, split_of
from .source import LabelledImage, Notes, Source

__all__ = ['find_class_folders', 'look_for_class_folders', 'read_class_folders']

_PART = re.compile(
    r'(images?|imgs?|masks?|labels?|annotations?|instances?|gt|gtfine|leftimg8bit|ground_?truth|scribbles?|[hl]r)(_?dir)?'
    r'|(dataset|.+_(train|val|test)|(train|val|test)_.+)'
)


def find_class_folders(files: SourceFiles) -> dict[Path, tuple[Path, str]]:
    """The images that are in the folder of a class.

    Args:
        files: The source.

    Returns:
        Image → the folder that holds those of the classes, and the class; empty if there are fewer than two classes, or
        more images outside of them than in them.

    Example:
        >>> for name in ('set/train/cat/1.jpg', 'set/train/dog/1.jpg', 'set/val/cat/2.jpg'):
        ...     Path(name).parent.mkdir(parents=True, exist_ok=True)
        ...     Path(name).touch()
        >>> found = find_class_folders(SourceFiles(Path('set'), Notes()))
        >>> [(str(folder), name) for folder, name in found.values()]
        [('train', 'cat'), ('train', 'dog'), ('val', 'cat')]
    """
    depth = _depth_of_classes(files.images)
    inside = [path for path in files.images if len(path.parts) > depth + 1]
    found = {path: (Path(*path.parts[:depth]), path.parts[depth]) for path in inside}
    classes = {name for _, name in found.values()}
    return found if len(classes) > 1 and 2 * len(found) > len(files.images) else {}


def look_for_class_folders(files: SourceFiles) -> dict[Path, tuple[Path, str]]:
    """As :func:`find_class_folders`, but nothing where a folder has the name of a part of some other data set.

    Args:
        files: The source.

    Returns:
        As there.

    Example:
        >>> for name in ('set/images/1.jpg', 'set/instances/1.png'):
        ...     Path(name).parent.mkdir(parents=True)
        ...     Path(name).touch()
        >>> look_for_class_folders(SourceFiles(Path('set'), Notes()))
        {}
    """
    found = find_class_folders(files)
    return {} if any(_PART.fullmatch(name.lower()) for _, name in found.values()) else found


def read_class_folders(files: SourceFiles, notes: Notes) -> Source:
    """Read the images of all classes below a source.

    Args:
        files: The source.
        notes: What is left out is noted here.

    Returns:
        The images, each with its class; the classes are in natural order, 2 before 10.

    Raises:
        UserError: If there are no folders of classes, or the splits have different ones.
    """
    found = find_class_folders(files)
    if not found:
        raise UserError(f'{files.root} has no folders of classes, such as train/cat/ and train/dog/, or cat/ and dog/')
    folders = sorted(
        {folder for folder, _ in found.values()}, key=lambda path: (split_of(path / 'image') != 'train', path)
    )
    check_folders([files.root / folder for folder in folders], None)
    notes.remarks.append(f'format: folders of classes, as {next(iter(found))}')
    images = []
    for path in files.images:
        if path not in found:
            notes.leave_out('image in no folder of a class', path)
            continue
        folder, name = found[path]
        try:
            facts = look_at(files.root / path)
        except UserError as error:
            notes.bad.append(str(error))
            continue
        # The split of the folder of the classes: a class may be called test.
        split = split_of(folder / 'image') if folder.parts else None
        images.append(LabelledImage(path, *facts.upright, split, [printable(name)], facts.fingerprint))
    classes = sorted({printable(name) for _, name in found.values()}, key=_natural)
    return Source('classes', files.root, classes, images, notes)


def _depth_of_classes(images: list[Path]) -> int:
    """How many folders are above those of the classes."""
    depth = 0
    while True:
        names = {path.parts[depth] for path in images if len(path.parts) > depth + 1}
        splits = {name: split_of(Path(name, 'image')) for name in names}
        # A class may be called train, so that all folders must be splits, and one that to train on.
        if names and all(splits.values()) and 'train' in splits.values():
            return depth + 1
        if len(names) != 1:
            return depth
        depth += 1


def _natural(name: str) -> list[tuple[int, int | str]]:
    parts = re.split(r'(\d+)', name.casefold())
    return [(0, int(part)) if part.isascii() and part.isdigit() else (1, part) for part in parts if part] + [(1, name)]
