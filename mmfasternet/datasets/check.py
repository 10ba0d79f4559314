"""Whether the data a config names is there and fits together, asked before training starts rather than in its midst."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image

from ..errors import UserError

__all__ = ['DataError', 'check_dataset_config', 'check_pictures', 'explain_empty']

# Pictures of a data set that are looked at: enough to catch a wrong folder, few enough for a slow disk.
SAMPLES = 50


class DataError(UserError):
    """A data set is not where its config says, or its annotations don't match its pictures."""


def check_dataset_config(cfg: dict) -> None:
    """Make sure that the annotation file and the folder of pictures of a data set exist.

    Args:
        cfg: The data set's config, which may wrap others (``dataset`` or ``datasets``).

    Raises:
        DataError: If one of them does not.

    Example:
        >>> check_dataset_config(dict(type='RepeatDataset', dataset=dict(type='CocoDataset')))
    """
    for leaf in leaves(cfg):
        root = leaf.get('data_root') or ''
        prefix = leaf.get('data_prefix') or {}
        # mmpretrain's data sets name one folder, or a split that is called as its folder.
        pictures = prefix if isinstance(prefix, str) else prefix.get('img') or leaf.get('split')
        named = [leaf.get('ann_file'), pictures]
        wanted = [name for name in named if isinstance(name, str) and name]
        if leaf.get('backend_args') or any('://' in str(path) for path in (root, *wanted)):
            continue  # cloud storage, which mmengine reads
        missing = [name for name in wanted if not Path(root, name).exists()]
        if missing:
            raise DataError(
                f'no data at {Path(root).absolute()}: it must hold {" and ".join(wanted)}, and lacks '
                f'{" and ".join(missing)}. If the data lies elsewhere, say so with --cfg-options data_root=FOLDER or, '
                'for detectors, MMDET_DATASETS=FOLDER. The demo (`make demo`) makes its own data and needs no download.'
            )


def explain_empty(cfg: dict) -> None:
    """Say why mmengine could not serialize a data set, if that is because no picture is left in it.

    Args:
        cfg: The data set's config, which may wrap others.

    Raises:
        DataError: If a COCO annotation file has no annotation, or none of the classes.

    Example:
        >>> explain_empty(dict(type='ADE20KDataset'))
    """
    for leaf in leaves(cfg):
        path = Path(leaf.get('data_root') or '', leaf.get('ann_file') or '')
        if path.suffix != '.json':
            continue
        coco = json.loads(path.read_text())
        names = {category['id']: category['name'] for category in coco.get('categories', [])}
        used = {names.get(annotation['category_id']) for annotation in coco.get('annotations', [])}
        classes = (leaf.get('metainfo') or {}).get('classes') or tuple(names.values())
        if not used & set(classes):
            raise DataError(
                f'{path} leaves no picture: it has {len(coco.get("annotations", []))} annotations, and none of the '
                f'classes {tuple(classes)}; its categories are {tuple(names.values())}'
            )


def check_pictures(dataset: Any) -> None:
    """Make sure that a data set knows its classes, and has pictures of the sizes it names.

    Looks at a sample of up to 50 pictures, spread over the whole.

    Args:
        dataset: A data set of mmengine's form; others are left alone.

    Raises:
        DataError: If the annotations match neither the classes nor the pictures.

    Example:
        >>> check_pictures([])
    """
    while not isinstance(dataset, BaseDataset) and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    if not isinstance(dataset, BaseDataset):
        return
    classes = dataset.metainfo.get('classes', ())
    if len(getattr(dataset, 'cat_ids', classes)) != len(classes):
        raise DataError(
            f'{dataset.ann_file} knows only {len(dataset.cat_ids)} of the {len(classes)} classes {tuple(classes)}; '
            'set metainfo=dict(classes=...) of the data set to the names of its categories'
        )
    for index in np.unique(np.linspace(0, len(dataset) - 1, SAMPLES).astype(int)):
        info = dataset.get_data_info(int(index))
        if '://' not in str(info.get('img_path', '://')):
            check_picture(dataset.ann_file, info)


def check_picture(ann_file: str, info: dict) -> None:
    path = Path(info['img_path'])
    if not path.is_file():
        raise DataError(f'{ann_file} names the picture {path}, which does not exist; is data_prefix the right folder?')
    if 'width' not in info:
        return
    with Image.open(path) as image:
        size = image.size
        turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation: width and height are exchanged
    named = (info['width'], info['height'])
    if named != size and not (turned and named == size[::-1]):
        raise DataError(
            f'{ann_file} says that {path} has width and height {named}, but the picture has {size}: the annotations '
            'were made for other pictures'
        )


def leaves(cfg: dict) -> Iterator[dict]:
    """The data sets inside wrappers such as RepeatDataset and ConcatDataset."""
    inner = [cfg['dataset']] if 'dataset' in cfg else cfg.get('datasets', [])
    if not inner:
        yield cfg
    for item in inner:
        yield from leaves(item)
