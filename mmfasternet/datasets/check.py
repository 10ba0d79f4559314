"""Checks of the data that a config names, made before training starts rather than in the middle of it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from .annotations import DataError, check_annotations, read_annotations
from .images import open_image

__all__ = ['DataError', 'check_dataset_config', 'check_images', 'explain_empty']

# Number of images that are checked: enough to find a wrong folder, few enough for a slow disk.
_SAMPLES = 50


def check_dataset_config(cfg: dict) -> None:
    """Make sure that the files and folders of a data set exist, and that the values of COCO annotations are possible.

    Args:
        cfg: The data set's config, which may wrap others (``dataset`` or ``datasets``).

    Raises:
        DataError: If one of them does not exist, or a value is impossible, see
            :func:`~mmfasternet.datasets.annotations.check_annotations`.

    Example:
        >>> check_dataset_config(dict(type='RepeatDataset', dataset=dict(type='CocoDataset')))
    """
    for leaf in _leaves(cfg):
        root = leaf.get('data_root') or ''
        prefix = leaf.get('data_prefix') or {}
        # mmpretrain's data sets name one folder, or a split that has the name of its folder.
        prefix = dict(img=prefix or leaf.get('split')) if isinstance(prefix, str) or not prefix else prefix
        named = [leaf.get('ann_file'), *(prefix.get(key) for key in ('img', 'img_path', 'seg_map_path'))]
        wanted = [name for name in named if isinstance(name, str) and name]
        if leaf.get('backend_args') or any('://' in str(path) for path in (root, *wanted)):
            continue  # mmengine reads cloud storage
        missing = [name for name in wanted if not Path(root, name).exists()]
        if missing:
            raise DataError(
                f'no data at {Path(root).absolute()}: it must hold {" and ".join(wanted)}, and lacks '
                f'{" and ".join(missing)}. If the data is elsewhere, set --cfg-options data_root=FOLDER or, for '
                'detectors, MMDET_DATASETS=FOLDER. The demo (`mmfasternet demo`, or `make demo` in a '
                'clone) generates its data and needs no download.'
            )
        if str(leaf.get('ann_file') or '').endswith('.json'):
            check_annotations(Path(root, leaf['ann_file']), _is_coco(leaf))


def explain_empty(cfg: dict) -> None:
    """Explain why mmengine could not serialize a data set, if the reason is that it has no image left.

    Args:
        cfg: The data set's config, which may wrap others.

    Raises:
        DataError: If a COCO annotation file has no annotation, or none of the classes, or a folder has no image.

    Example:
        >>> explain_empty(dict(type='ADE20KDataset'))
    """
    for leaf in _leaves(cfg):
        _check_folder(leaf)
        path = Path(leaf.get('data_root') or '', leaf.get('ann_file') or '')
        if path.suffix != '.json':
            continue
        names = check_annotations(path, _is_coco(leaf))
        if not names:
            continue
        annotations = read_annotations(path)['annotations']
        used = {names.get(annotation.get('category_id')) for annotation in annotations}
        classes = (leaf.get('metainfo') or {}).get('classes') or tuple(names.values())
        if not used & set(classes):
            raise DataError(
                f'{path} leaves no image: it has {len(annotations)} annotations, and none of the '
                f'classes {tuple(classes)}; its categories are {tuple(names.values())}'
            )


def _check_folder(leaf: dict) -> None:
    """Without an ``ann_file``, mmseg takes the files that it finds in a folder."""
    prefix = leaf.get('data_prefix')
    if not isinstance(prefix, dict) or 'img_path' not in prefix or leaf.get('ann_file'):
        return
    folder, suffix = Path(leaf.get('data_root') or '', prefix['img_path']), leaf.get('img_suffix', '')
    if not any(path.name.endswith(suffix) for path in folder.rglob('*') if path.is_file()):
        raise DataError(
            f'{folder} has no image{suffix and f" whose name ends in {suffix}"}; set data_prefix and img_suffix of '
            'the data set to the folder and the ending of its images'
        )


def check_images(dataset: Any) -> None:
    """Make sure that a data set knows its classes, and that its images and semantic maps match its annotations.

    Up to 50 images, spread evenly over the data set, are opened.

    Args:
        dataset: A data set of mmengine's kind; others are not checked.

    Raises:
        DataError: If the annotations or maps don't match the classes or the images.

    Example:
        >>> check_images([])
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
    _check_order(dataset, classes)
    with_masks = any(getattr(step, 'with_mask', False) for step in dataset.pipeline.transforms)
    for index in np.unique(np.linspace(0, len(dataset) - 1, _SAMPLES).astype(int)):
        info = dataset.get_data_info(int(index))
        if '://' not in str(info.get('img_path', '://')):
            _check_image(dataset.ann_file, info)
            if with_masks and any('mask' not in instance for instance in info.get('instances', [])):
                raise DataError(
                    f'{dataset.ann_file} has an object without a segmentation in {info["img_path"]}, and the config '
                    'trains on masks; use a detector of boxes, or set with_mask=False in LoadAnnotations and remove '
                    'the mask head'
                )
            if 'reduce_zero_label' in info and info.get('seg_map_path'):  # mmseg's; mmdet's panoptic maps differ
                _check_map(info, len(classes))


def _check_order(dataset: BaseDataset, classes: Sequence[str]) -> None:
    """mmdet numbers the classes in the order of the JSON's categories, and names them in the order of the config."""
    path = Path(dataset.ann_file)
    if not hasattr(dataset, 'cat_ids') or path.suffix != '.json' or not path.is_file():
        return
    names = check_annotations(path, _is_coco(dict(type=type(dataset))))
    if not names:
        return
    numbered = tuple(names[number] for number in dataset.cat_ids)
    if numbered != tuple(classes) and set(numbered) == set(classes):
        raise DataError(
            f'the classes {tuple(classes)} of the config are in another order than the categories of {path}, so that '
            f"mmdet would show one under another's name; write classes={numbered}"
        )


def _check_image(ann_file: str, info: dict) -> None:
    path = Path(info['img_path'])
    if not path.is_file():
        raise DataError(f'{ann_file} names the image {path}, which does not exist; is data_prefix the right folder?')
    if 'width' not in info:
        return
    with open_image(path) as image:
        size = image.size
        turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation: width and height are swapped
    named = (info['width'], info['height'])
    if named != size and not (turned and named == size[::-1]):
        raise DataError(
            f'{ann_file} says that {path} has width and height {named}, but the image has {size}: the annotations '
            'were made for other images'
        )


def _check_map(info: dict, num_classes: int) -> None:
    source, path = info['img_path'], Path(info['seg_map_path'])
    if not path.is_file():
        raise DataError(
            f'the image {source} has no semantic map {path}; set data_prefix and seg_map_suffix of the data set to the '
            'folder and the ending of its maps'
        )
    with open_image(source) as image, open_image(path) as mapped:
        if mapped.size != image.size:
            raise DataError(
                f'{path} has width and height {mapped.size}, but its image {source} has {image.size}: the maps were '
                'made for other images'
            )
        labels = np.asarray(mapped)
    if labels.ndim != 2:
        raise DataError(f'{path} is a colour image; a semantic map has one channel, with the number of the class')
    if info['label_map']:
        return  # mmseg renumbers the classes
    # 255 is ignored, and so is 0 where the classes are counted from 1.
    last = num_classes if info['reduce_zero_label'] else num_classes - 1
    highest = labels[labels != 255].max(initial=0)
    if highest > last:
        raise DataError(
            f'{path} has class number {highest}, but the {num_classes} classes of the data set end at {last}; '
            'set metainfo=dict(classes=...) or reduce_zero_label, or convert the maps'
        )


def _is_coco(leaf: dict) -> bool:
    """Whether mmdet reads its annotations as COCO's; other data sets have JSON files of other formats."""
    kind = leaf.get('type')
    return (kind if isinstance(kind, str) else getattr(kind, '__name__', '')).endswith('CocoDataset')


def _leaves(cfg: dict) -> Iterator[dict]:
    """The data sets inside wrappers such as RepeatDataset and ConcatDataset."""
    inner = [cfg['dataset']] if 'dataset' in cfg else cfg.get('datasets', [])
    if not inner:
        yield cfg
    for item in inner:
        yield from _leaves(item)
