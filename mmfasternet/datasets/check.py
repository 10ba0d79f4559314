"""Whether the data a config names is there and fits together, asked before training starts rather than in its midst."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image

from mmfasternet.errors import UserError

__all__ = ['DataError', 'check_dataset_config', 'check_pictures', 'explain_empty']

# Pictures of a data set that are looked at: enough to catch a wrong folder, few enough for a slow disk.
SAMPLES = 50


class DataError(UserError):
    """A data set is not where its config says, or its annotations don't match its pictures."""


def check_dataset_config(cfg: dict) -> None:
    """Make sure that the annotation file and the folders of pictures and maps of a data set exist.

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
        prefix = dict(img=prefix or leaf.get('split')) if isinstance(prefix, str) or not prefix else prefix
        named = [leaf.get('ann_file'), *(prefix.get(key) for key in ('img', 'img_path', 'seg_map_path'))]
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
        DataError: If a COCO annotation file has no annotation, or none of the classes, or a folder has no picture.

    Example:
        >>> explain_empty(dict(type='ADE20KDataset'))
    """
    for leaf in leaves(cfg):
        explain_empty_folder(leaf)
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


def explain_empty_folder(leaf: dict) -> None:
    """mmseg lists a folder, and without an ``ann_file`` takes what it finds there."""
    prefix = leaf.get('data_prefix')
    if not isinstance(prefix, dict) or 'img_path' not in prefix or leaf.get('ann_file'):
        return
    folder, suffix = Path(leaf.get('data_root') or '', prefix['img_path']), leaf.get('img_suffix', '')
    if not any(path.name.endswith(suffix) for path in folder.rglob('*') if path.is_file()):
        raise DataError(
            f'{folder} holds no picture{suffix and f" whose name ends in {suffix}"}; set data_prefix and img_suffix '
            'of the data set to where its pictures lie and how their names end'
        )


def check_pictures(dataset: Any) -> None:
    """Make sure that a data set knows its classes, and has pictures of the sizes it names and maps of its classes.

    Looks at a sample of up to 50 pictures, spread over the whole.

    Args:
        dataset: A data set of mmengine's form; others are left alone.

    Raises:
        DataError: If the annotations or maps don't match the classes or the pictures.

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
    check_order(dataset, classes)
    with_masks = any(getattr(step, 'with_mask', False) for step in dataset.pipeline.transforms)
    for index in np.unique(np.linspace(0, len(dataset) - 1, SAMPLES).astype(int)):
        info = dataset.get_data_info(int(index))
        if '://' not in str(info.get('img_path', '://')):
            check_picture(dataset.ann_file, info)
            if with_masks and any('mask' not in instance for instance in info.get('instances', [])):
                raise DataError(
                    f'{dataset.ann_file} has an object without a segmentation in {info["img_path"]}, and the config '
                    'trains on masks; take a detector of boxes, or set with_mask=False in LoadAnnotations and no mask '
                    'head'
                )
            if 'reduce_zero_label' in info and info.get('seg_map_path'):  # of mmseg; mmdet's panoptic maps are others
                check_map(info, len(classes))


def check_order(dataset: BaseDataset, classes: Sequence[str]) -> None:
    """mmdet numbers the classes as the JSON has its categories, and names them as the config does."""
    path = Path(dataset.ann_file)
    if not hasattr(dataset, 'cat_ids') or path.suffix != '.json' or not path.is_file():
        return
    content = path.read_text()
    # Alone, since the whole of a large file takes a minute.
    start = content.index('[', content.rindex('"categories"'))
    names = {category['id']: category['name'] for category in json.JSONDecoder().raw_decode(content, start)[0]}
    numbered = tuple(names[number] for number in dataset.cat_ids)
    if numbered != tuple(classes) and set(numbered) == set(classes):
        raise DataError(
            f'the classes {tuple(classes)} of the config stand in another order than the categories of {path}, so that '
            f"mmdet would show one under another's name; write classes={numbered}"
        )


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


def check_map(info: dict, num_classes: int) -> None:
    picture, path = info['img_path'], Path(info['seg_map_path'])
    if not path.is_file():
        raise DataError(
            f'the picture {picture} has no map {path}; set data_prefix and seg_map_suffix of the data set to where its '
            'maps lie and how their names end'
        )
    with Image.open(picture) as image, Image.open(path) as mapped:
        if mapped.size != image.size:
            raise DataError(
                f'{path} has width and height {mapped.size}, but its picture {picture} has {image.size}: the maps were '
                'made for other pictures'
            )
        labels = np.asarray(mapped)
    if labels.ndim != 2:
        raise DataError(f'{path} is a picture of colours; a map has one channel, with the number of the class')
    if info['label_map']:
        return  # mmseg renumbers the classes
    # 255 is ignored, and so is 0 where the classes are counted from 1.
    last = num_classes if info['reduce_zero_label'] else num_classes - 1
    highest = labels[labels != 255].max(initial=0)
    if highest > last:
        raise DataError(
            f'{path} has a class of number {highest}, but the {num_classes} classes of the data set end at {last}; '
            'set metainfo=dict(classes=...) or reduce_zero_label, or convert the maps'
        )


def leaves(cfg: dict) -> Iterator[dict]:
    """The data sets inside wrappers such as RepeatDataset and ConcatDataset."""
    inner = [cfg['dataset']] if 'dataset' in cfg else cfg.get('datasets', [])
    if not inner:
        yield cfg
    for item in inner:
        yield from leaves(item)
