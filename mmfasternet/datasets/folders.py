"""The folders of a classifier's images against its classes: mmpretrain numbers the classes by the sorted folders."""

from collections.abc import Sequence
from pathlib import Path

from .annotations import DataError

__all__ = ['check_folders']


def check_folders(folders: Sequence[str | Path], classes: Sequence[str] | None) -> None:
    """Make sure that data sets in folders per class number the classes alike, and as the config names them.

    Args:
        folders: The folder of each data set, such as that of the training and that of the validation.
        classes: The names in the config; None takes those of the folders. Names of which none is that of a folder are
            taken for other names of the classes, in the order of the folders.

    Raises:
        DataError: If one has other folders than the first, or the classes are in another order.

    Example:
        >>> for name in ('train/cat', 'train/dog', 'val/dog'):
        ...     Path(name).mkdir(parents=True)
        >>> check_folders(['train'], ['dog', 'cat'])
        Traceback (most recent call last):
        mmfasternet.datasets.annotations.DataError: the classes ('dog', 'cat') of the config are in another order than \
the folders of train, by which mmpretrain numbers them; write classes=('cat', 'dog')
    """
    first = None
    for folder in map(Path, folders):
        names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
        if first is None:
            first, expected = folder, names
            _check_names(folder, names, classes)
        elif names != expected:
            lacks, others = sorted({*expected} - {*names}), sorted({*names} - {*expected})
            raise DataError(
                f'{folder} has other folders of classes than {first}'
                + (f': it lacks {", ".join(lacks)}' if lacks else '')
                + (f'{" and" if lacks else ":"} has {", ".join(others)} besides' if others else '')
                + '. mmpretrain numbers the classes by the sorted folders, so that both need the same; an empty folder '
                'is in order'
            )


def _check_names(folder: Path, names: tuple[str, ...], classes: Sequence[str] | None) -> None:
    if hidden := [name for name in names if name.startswith('.')]:
        raise DataError(f'{folder} has the folder {hidden[0]}, which would be taken for a class; remove it')
    if classes is None:
        return
    classes = tuple(classes)
    # Upper and lower case aside, since some file systems don't tell them apart.
    given, found = [name.casefold() for name in classes], [name.casefold() for name in names]
    if given == found or not {*given} & {*found}:
        return
    if sorted(given) == sorted(found):
        raise DataError(
            f'the classes {classes} of the config are in another order than the folders of {folder}, by which '
            f'mmpretrain numbers them; write classes={names}'
        )
    raise DataError(f'the classes {classes} of the config are not the folders {names} of {folder}; write those names')
