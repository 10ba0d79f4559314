"""Crops of a detection data set's objects, a folder per class: what a classifier learns from."""

import json
import tempfile
from collections import defaultdict
from pathlib import Path

import cv2

from mmfasternet.errors import UserError

__all__ = ['make_crops']

CONTEXT = 1.5  # side of a crop, in the longer sides of its box
MIN_SIDE = 24  # pixels: less shows nothing of what is around a small object


def make_crops(source: str | Path, root: str | Path) -> Path:
    """Write a square crop of every object of a data set in COCO's layout, a folder per class as ImageNet has it.

    A crop, ``{train,val}/<class>/<id of the annotation>.png``, shows the object's box and half as much around it, cut
    by the border of the picture. All are written in a temporary folder, so no half of them is ever found at ``root``.

    Args:
        source: Folder of a data set with ``annotations/instances_{train,val}.json`` and ``{train,val}/``, as
            :func:`make_shapes` writes it.
        root: Folder to write, which must not exist.

    Returns:
        ``root``.

    Raises:
        UserError: If ``source`` is no such folder, or ``root`` exists.

    Example:
        >>> import tempfile
        >>> from mmfasternet.datasets import make_shapes
        >>> folder = tempfile.mkdtemp()
        >>> shapes = make_shapes(folder + '/shapes', num_train=4, num_val=4)
        >>> sorted(path.name for path in make_crops(shapes, folder + '/crops').iterdir())
        ['train', 'val']
    """
    source, root = Path(source), Path(root)
    if root.exists():
        raise UserError(f'{root} is there already; remove it, or name another folder')
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'can not make {root.parent} ({error.strerror}); name another folder') from error
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f'.{root.name}-') as temporary:
        new = Path(temporary, 'new')
        for split in ('train', 'val'):
            write_split(source, new, split)
        new.rename(root)
    return root


def write_split(source: Path, root: Path, split: str) -> None:
    file = source / 'annotations' / f'instances_{split}.json'
    if not file.is_file():
        raise UserError(f'{file} does not exist; make the data set with tools/data/make_shapes.py {source}')
    coco = json.loads(file.read_text())
    classes = {category['id']: category['name'] for category in coco['categories']}
    for name in classes.values():
        (root / split / name).mkdir(parents=True)
    boxes = defaultdict(list)
    for annotation in coco['annotations']:
        boxes[annotation['image_id']].append(annotation)
    for image in coco['images']:
        file = source / split / image['file_name']
        picture = cv2.imread(str(file))
        if picture is None:
            raise UserError(f'{file} can not be read as a picture; make {source} anew with tools/data/make_shapes.py')
        for annotation in boxes[image['id']]:
            x, y, width, height = annotation['bbox']
            half = max(CONTEXT * max(width, height), MIN_SIDE) / 2
            left, top = max(0, round(x + width / 2 - half)), max(0, round(y + height / 2 - half))
            crop = picture[top : round(y + height / 2 + half), left : round(x + width / 2 + half)]
            target = root / split / classes[annotation['category_id']] / f'{annotation["id"]:06d}.png'
            if not cv2.imwrite(str(target), crop):
                raise UserError(f'can not write {target.name}; is the disk full?')
