"""What a data set's config takes of a file of annotations: classes, images, and objects to train on."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np

from .annotations import MASKLESS, RUNS, Annotations, DataError
from .findings import Findings

__all__ = ['check_classes', 'check_files', 'check_selection']


def check_classes(path: str | Path, found: Annotations, classes: Sequence[str]) -> None:
    """Make sure that a file has the classes of a config, each once and in the same order.

    Args:
        path: The file.
        found: What it holds.
        classes: The names in the config.

    Raises:
        DataError: If it does not: mmdet numbers the classes in the order of the file, and names them in the order of
            the config.

    Example:
        >>> check_classes('coco.json', Annotations({1: 'cat', 2: 'dog'}, {}, [], np.zeros((0, 2))), ['cat'])
    """
    classes, names = tuple(classes), tuple(found.categories.values())
    numbered = tuple(name for name in names if name in set(classes))
    doubled = sorted({name for name in numbered if numbered.count(name) > 1})
    if doubled:
        ids = {name: [number for number, other in found.categories.items() if other == name] for name in doubled}
        raise DataError(
            f'{path} has several categories of one name, each with objects: '
            f'{", ".join(f"{name!r} (ids {numbers})" for name, numbers in ids.items())}; rename them, or make them one'
        )
    missing = tuple(name for name in classes if name not in names)
    if missing:
        raise DataError(
            f'{path} knows only {len(numbered)} of the {len(classes)} classes {_listed(classes)}, and lacks '
            f'{_listed(missing)}; set metainfo=dict(classes=...) of the data set to the names of its categories, which '
            f'are {_listed(names)}'
        )
    if len(set(classes)) < len(classes):
        raise DataError(f'the classes {_listed(classes)} of the config name one twice; {path} has {_listed(names)}')
    if numbered != classes:
        raise DataError(
            f'the classes {classes} of the config are in another order than the categories of {path}, so that mmdet '
            f"would show one under another's name; write classes={numbered}, or, where other files have another order, "
            'sort the categories of all of them alike'
        )


def _listed(names: Sequence[str]) -> str:
    return str(names) if len(names) <= 10 else f'{str(names[:10])[:-1]}, … {len(names) - 10} more)'


def check_selection(
    path: str | Path,
    found: Annotations,
    classes: Sequence[str],
    trains: bool = False,
    filter_cfg: dict | None = None,
    with_masks: bool = False,
    only_polygons: bool = False,
) -> list[str]:
    """Make sure that there is something to train or to test on.

    Args:
        path: The file.
        found: What it holds.
        classes: The names in the config.
        trains: Whether a file without annotations is an error; images may be tested without. Defaults to False.
        filter_cfg: mmdet's, of a training: which images are left out. Defaults to None, which leaves out none.
        with_masks: Whether each object needs a mask. Defaults to False.
        only_polygons: Whether the masks are read as polygons (``poly2mask=False``). Defaults to False.

    Returns:
        What a user should know: the images that are left out, and classes without objects.

    Raises:
        DataError: If no image or no object is left, or an object lacks a mask.

    Example:
        >>> found = Annotations({1: 'cat'}, {1: 0}, ['a.png'], np.array([[64, 16]]))
        >>> check_selection('coco.json', found, ['cat'], filter_cfg=dict(min_size=32))
        Traceback (most recent call last):
        mmfasternet.datasets.annotations.DataError: coco.json leaves no image: filter_cfg leaves out 1 of 1, which \
has a side of less than 32 pixels
    """
    names = found.categories
    wanted = np.array([names[number] in set(classes) for number in found.category_of], bool)
    image_of = np.array(found.image_of, int)
    taken = wanted & np.array(found.taken, bool)
    notes = _check_images(path, found, image_of[wanted], filter_cfg, tuple(classes))
    if not len(wanted):
        if trains:
            raise DataError(f'{path} leaves no object to train on: it has 0 annotations')
        return [*notes, f'{path} has no annotation, so that nothing can be measured on it']
    trained = taken & ~found.crowd
    if not trained.any():
        counts = [(~wanted).sum(), (wanted & ~taken).sum(), (taken & found.crowd).sum()]
        raise DataError(
            f'{path} leaves no object: of {len(wanted)} annotations, {counts[0]} are of none of the classes '
            f'{_listed(tuple(classes))}, {counts[1]} have a box without size or outside of the image, "area" 0 or '
            f'"ignore", and {counts[2]} are crowds ("iscrowd" is 1); mmdet neither trains nor measures on these. Where '
            'a file lacks "area" or "iscrowd", they are filled in'
        )
    lacking = Findings()
    if with_masks:
        for index in np.flatnonzero(taken & (found.masks == MASKLESS)):
            lacking.add('mask', f'{found.objects[index]} in {found.file_names[image_of[index]]}')
    if lacking:
        raise DataError(
            lacking.text(f'{path} has an object without a segmentation', 'annotations')
            + '\nand the config works on masks; use a detector of boxes, or set with_mask=False in LoadAnnotations and '
            'metric="bbox" in the evaluator, and remove the mask head'
        )
    if only_polygons and (runs := int((trained & (found.masks == RUNS)).sum())):
        raise DataError(
            f'{path}: {runs} of {int(trained.sum())} objects have run lengths for masks, which poly2mask=False makes '
            'mmdet leave out; set poly2mask=True in LoadAnnotations'
        )
    counts = {name: 0 for name in classes}
    for number, count in Counter(compress(found.category_of, trained)).items():
        counts[names[number]] += count
    without = [name for name, count in counts.items() if not count]
    if without:
        notes.append(f'{path} has no object of {_listed(tuple(without))}')
    return notes


def _check_images(
    path: str | Path, found: Annotations, image_of: np.ndarray, filter_cfg: dict | None, classes: tuple[str, ...]
) -> list[str]:
    """What mmdet's filter leaves."""
    filter_cfg = filter_cfg or {}
    count, smallest = len(found.sizes), filter_cfg.get('min_size', 0)
    small = found.sizes.min(1) < smallest if count else np.zeros(0, bool)
    empty = np.ones(count, bool)
    empty[image_of] = False
    empty &= bool(filter_cfg.get('filter_empty_gt', False))
    text = []
    if small.any():
        text.append(f'{small.sum()} of {count}, which {_has(small.sum())} a side of less than {smallest} pixels')
    if empty.any():
        what = f'no object of the classes {_listed(classes)}'
        text.append(f'{empty.sum()} of {count}, which {_has(empty.sum())} {what}')
    if count == 0 or (small | empty).all():
        reason = f'filter_cfg leaves out {" and ".join(text)}' if text else 'it has none'
        if count and empty.all():
            reason = (
                f'it has {len(found.objects)} annotations, and none of the classes {_listed(classes)}; its categories '
                f'are {_listed(tuple(found.categories.values()))}'
            )
        raise DataError(f'{path} leaves no image: {reason}')
    return [f'{path}: filter_cfg leaves out {" and ".join(text)}'] if small.any() else []


def _has(count: int) -> str:
    return 'has' if count == 1 else 'have'


def check_files(path: str | Path, file_names: Sequence[str], folder: str | Path) -> None:
    """Make sure that every image file exists; each folder is listed once.

    Args:
        path: The file of annotations.
        file_names: The images.
        folder: What their names are relative to.

    Raises:
        DataError: If one does not exist.

    Example:
        >>> check_files('coco.json', ['a.png'], 'train')
        Traceback (most recent call last):
        mmfasternet.datasets.annotations.DataError: coco.json names the image train/a.png, which does not exist; is \
data_prefix the right folder?
    """
    by_folder = defaultdict(list)
    for name in file_names:
        parent, base = os.path.split(os.path.join(folder, name))
        by_folder[parent].append(base)
    missing: list[str] = []
    for parent, names in by_folder.items():
        try:
            there = set(os.listdir(parent or '.'))
        except (OSError, ValueError):  # such as a name that is no text
            there = set()
        paths = (os.path.join(parent, name) for name in set(names) - there)
        missing += [path for path in paths if not os.path.isfile(path)]
    if not missing:
        return
    first = sorted(missing)
    hint = 'is data_prefix the right folder?'
    if '\\' in first[0]:
        hint = 'its name has backslashes, as on Windows: write / in their place in "file_name"'
    if len(first) == 1:
        raise DataError(f'{path} names the image {first[0]}, which does not exist; {hint}')
    raise DataError(
        f'{path} names the image {first[0]}, which does not exist, and {len(first) - 1} of {len(file_names)} others, '
        f'such as {", ".join(first[1:10])}; {hint}'
    )
