"""Crops of the objects of a detection data set, in a folder per class: data for a classifier."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from mmfasternet.errors import UserError
from mmfasternet.files import replacing

from .annotations import load_annotations
from .images import read_image

__all__ = ['make_crops']

_CONTEXT = 1.5  # side of a crop, as a multiple of its box's longer side
_MIN_SIDE = 24  # pixels: less shows nothing of what surrounds a small object


def make_crops(source: str | Path, root: str | Path) -> Path:
    """Write a square crop of every object of a data set in COCO's layout, in a folder per class as ImageNet has them.

    A crop, ``{train,val}/<class>/<id of the annotation>.png``, shows the object's box and its surroundings, half as
    much again, as far as the image reaches. The folder is written completely or not at all.

    Args:
        source: Folder of a data set with ``annotations/instances_{train,val}.json`` and ``{train,val}/``, as
            :func:`make_shapes` writes it.
        root: Folder to write, which must not exist.

    Returns:
        ``root``.

    Raises:
        UserError: If ``source`` is not such a folder, a class or an image has a name that leads out of its folder, or
            ``root`` exists or can't be written.

    Example:
        >>> from mmfasternet.datasets import make_shapes
        >>> shapes = make_shapes('shapes_to_crop', num_train=4, num_val=4)
        >>> sorted(path.name for path in make_crops(shapes, 'crops').iterdir())
        ['train', 'val']
    """
    source, root = Path(source), Path(root)
    if root.exists() or root.is_symlink():
        raise UserError(f'{root} exists already; remove it, or choose another folder')
    with replacing(root) as new:
        for split in ('train', 'val'):
            _write_split(source, new, split)
    return root


def _write_split(source: Path, root: Path, split: str) -> None:
    file = source / 'annotations' / f'instances_{split}.json'
    if not file.is_file():
        raise UserError(f'{file} does not exist; make the data set with `mmfasternet make_shapes {source}`')
    coco = load_annotations(file)
    classes = {category['id']: category['name'] for category in coco['categories']}
    _check_names(file, 'class', classes.values())
    _check_names(file, 'image', (entry['file_name'] for entry in coco['images']))
    for name in classes.values():
        (root / split / name).mkdir(parents=True)
    boxes = defaultdict(list)
    for annotation in coco['annotations']:
        boxes[annotation['image_id']].append(annotation)
    for entry in coco['images']:
        image = read_image(source / split / entry['file_name'])
        for annotation in boxes[entry['id']]:
            crop = _crop(image, annotation['bbox'])
            if not crop.size:
                continue  # a box outside of its image shows nothing
            target = root / split / classes[annotation['category_id']] / f'{annotation["id"]:06d}.png'
            if not cv2.imwrite(str(target), crop):
                raise UserError(f'cannot write {target.name}; is the disk full?')


def _crop(image: np.ndarray, bbox: list[float]) -> np.ndarray:
    x, y, width, height = bbox
    half = max(_CONTEXT * max(width, height), _MIN_SIDE) / 2
    left, top = max(0, round(x + width / 2 - half)), max(0, round(y + height / 2 - half))
    right, bottom = max(0, round(x + width / 2 + half)), max(0, round(y + height / 2 + half))
    return image[top:bottom, left:right]


def _check_names(file: Path, kind: str, names: Iterable[str]) -> None:
    """Names from a file must be those of files in a folder: a path could lead anywhere."""
    seen = set()
    for name in names:
        if name in ('', '.', '..') or not name.isprintable() or '/' in name or '\\' in name:
            raise UserError(f'{file}: the {kind} name {name!r} cannot be the name of a file or a folder; rename it')
        # Some file systems don't tell upper and lower case apart.
        if name.casefold() in seen:
            raise UserError(f'{file}: two entries have the {kind} name {name!r}; rename one of them')
        seen.add(name.casefold())
