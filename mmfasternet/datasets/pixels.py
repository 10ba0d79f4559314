"""Checks of a data set that is built: its images and semantic maps, of which a sample is opened."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from .annotations import DataError
from .images import open_image

__all__ = ['check_images']

# Number of images that are opened: enough to find a wrong folder, few enough for a slow disk.
_SAMPLES = 50


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
    for inner in getattr(dataset, 'datasets', ()):
        check_images(inner)
    if not isinstance(dataset, BaseDataset):
        return
    classes = dataset.metainfo.get('classes', ())
    _check_palette(dataset, classes)
    with_masks = any(getattr(step, 'with_mask', False) for step in dataset.pipeline.transforms)
    with_maps = len(dataset) > 0 and 'reduce_zero_label' in dataset.get_data_info(0)  # mmseg's; mmdet's maps differ
    upright = not any(
        'ignore_orientation' in str(getattr(step, 'color_type', '')) or getattr(step, 'color_type', '') == 'unchanged'
        for step in dataset.pipeline.transforms
    )
    if with_maps:
        for index in range(len(dataset)):
            _check_map_exists(dataset.get_data_info(index))
    labels: set[int] = set()
    flipped: list[str] = []
    sample = np.unique(np.linspace(0, len(dataset) - 1, _SAMPLES).astype(int)) if len(dataset) else []
    for index in sample:
        info = dataset.get_data_info(int(index))
        if '://' not in str(info.get('img_path', '://')):
            flipped += [info['img_path']] if _check_image(dataset.ann_file, info, upright) else []
            if with_masks and any('mask' not in instance for instance in info.get('instances', [])):
                raise DataError(
                    f'{dataset.ann_file} has an object without a segmentation in {info["img_path"]}, and the config '
                    'trains on masks; use a detector of boxes, or set with_mask=False in LoadAnnotations and remove '
                    'the mask head'
                )
            if with_maps and info.get('seg_map_path'):
                labels |= _check_map(info, len(classes))
    if flipped:
        print_log(
            f'{flipped[0]} and {len(flipped) - 1} others of {len(sample)} images looked at are turned by their EXIF '
            'orientation: their annotations must have been made for the turned images, which their sizes do not tell',
            logger='current',
            level=logging.WARNING,
        )
    if with_maps and labels and len(labels - {255}) < 2:
        raise DataError(
            f'the semantic maps in {dataset.data_prefix.get("seg_map_path")} have only the labels '
            f'{", ".join(map(str, sorted(labels)))} (after reduce_zero_label and label_map), of which 255 is ignored: '
            'there is nothing to tell apart. Write the number of the class for each pixel, as 0 and 1 for 0 and 255'
        )


def _check_palette(dataset: BaseDataset, classes: Sequence[str]) -> None:
    palette = dataset.metainfo.get('palette')
    if isinstance(palette, (list, tuple)) and 0 < len(palette) < len(classes):
        raise DataError(
            f'the palette of the config has {len(palette)} colours for {len(classes)} classes; set '
            "metainfo=dict(palette=[...]) to one colour per class, or to 'random'"
        )


def _check_map_exists(info: dict) -> None:
    path = info.get('seg_map_path')
    if path and '://' not in path and not Path(path).is_file():
        raise DataError(
            f'the image {info["img_path"]} has no semantic map {path}; set data_prefix and seg_map_suffix of the data '
            'set to the folder and the ending of its maps'
        )


def _check_image(ann_file: str, info: dict, upright: bool) -> bool:
    """Check an image; gives whether it is turned in a way that its size does not tell."""
    path = Path(info['img_path'])
    if not path.is_file():
        raise DataError(f'{ann_file} names the image {path}, which does not exist; is data_prefix the right folder?')
    if 'width' not in info:
        return False
    with open_image(path) as image:
        size = image.size
        orientation = image.getexif().get(0x0112, 1)
    turned = orientation >= 5  # width and height are swapped
    named = (info['width'], info['height'])
    if turned and upright:
        # OpenCV turns the image before it is trained on.
        size = size[::-1]
    if named == size:
        return upright and (orientation in (2, 3, 4) or (turned and size[0] == size[1]))
    if turned and named == size[::-1]:
        cure = (
            'the annotations were made for the image as stored. Remove the orientation from the image (such as by '
            "`exiftool -Orientation=`), or set color_type='color_ignore_orientation' in LoadImageFromFile"
            if upright
            else 'the annotations were made for the image as shown. Remove color_type from LoadImageFromFile'
        )
        raise DataError(
            f'{ann_file} says that {path} has width and height {named}, but the image, which has an EXIF orientation, '
            f'is read with {size}: {cure}'
        )
    raise DataError(
        f'{ann_file} says that {path} has width and height {named}, but the image has {size}: the annotations '
        'were made for other images'
    )


def _check_map(info: dict, num_classes: int) -> set[int]:
    """Check a semantic map; gives its labels as mmseg reads them."""
    source, path = info['img_path'], Path(info['seg_map_path'])
    with open_image(source) as image, open_image(path) as mapped:
        if mapped.size != image.size:
            raise DataError(
                f'{path} has width and height {mapped.size}, but its image {source} has {image.size}: the maps were '
                'made for other images'
            )
        labels = np.asarray(mapped)
    if labels.ndim != 2:
        raise DataError(f'{path} is a colour image; a semantic map has one channel, with the number of the class')
    values = {int(value) for value in np.unique(labels)}
    if info['reduce_zero_label']:
        values = {value - 1 if 0 < value < 255 else 255 for value in values}
    if info['label_map']:
        return {info['label_map'].get(value, value) for value in values}  # mmseg renumbers the classes
    # 255 is ignored, and so is 0 where the classes are counted from 1.
    last = num_classes if info['reduce_zero_label'] else num_classes - 1
    highest = labels[labels != 255].max(initial=0)
    if highest > last:
        raise DataError(
            f'{path} has class number {highest}, but the {num_classes} classes of the data set end at {last}; '
            'set metainfo=dict(classes=...) or reduce_zero_label, or convert the maps'
        )
    return values
