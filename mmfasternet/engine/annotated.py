"""The images that a config tests on, their annotations, and the AP of what a detector finds in them."""

import contextlib
import io
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmfasternet.datasets.annotations import load_annotations
from mmfasternet.errors import UserError
from mmfasternet.predictions.onnx_predictors import Objects

from .config import class_names, dataset_tested_on, load_config

__all__ = ['Data', 'average_precision', 'evenly', 'read_data', 'to_entries']


@dataclass(frozen=True)
class Data:
    """Annotated images.

    Args:
        name: The file of annotations, from the current folder on.
        content: What it holds, in COCO's format.
        images: Id of an image → its file.
        classes: Names of the classes that are tested.
        categories: Their ids.
    """

    name: str
    content: dict
    images: dict[int | str, Path]
    classes: list[str]
    categories: list[int | str]


def read_data(config: str | Path, most: int | None = None, split: str = 'test') -> Data:
    """Read the annotations that a config tests on.

    Args:
        config: A detector's config, with ``test_dataloader``, or ``val_dataloader``.
        most: As many images as are taken, evenly spaced. None means all. Defaults to None.
        split: 'test', or 'val' for what it validates on. Defaults to 'test'.

    Returns:
        The data.

    Raises:
        UserError: If the config is not a detector's, names no annotations, or these have no image or object, or an
            image is missing or ``indices`` of the data set name none.
    """
    cfg = load_config(config)
    dataset = dataset_tested_on(cfg, split)
    if cfg.default_scope != 'mmdet' or not isinstance(dataset.get('ann_file'), str) or not dataset['ann_file']:
        raise UserError(
            f'{config} names no COCO annotations that a detector is tested on (ann_file in the dataset of '
            f'{split}_dataloader); give a config of a detector that does'
        )
    root = Path(dataset.get('data_root') or '')
    path = root / dataset['ann_file']
    content = load_annotations(path)
    classes = class_names(dataset)
    # As mmdet counts its labels: in the order of the file.
    categories = {one['id']: one['name'] for one in content['categories'] if one['name'] in classes}
    folder = root / (dataset.get('data_prefix') or {}).get('img', '')
    tested = _subset(content['images'], dataset.get('indices'), config)
    images = {one['id']: folder / one['file_name'] for one in evenly(tested, most)}
    if not images:
        raise UserError(f'{path} has no image to test on')
    if not any(one['image_id'] in images and one['category_id'] in categories for one in content['annotations']):
        raise UserError(f'{path} has no object of {", ".join(classes) or "a class"}, so there is no AP')
    if missing := [file for file in images.values() if not file.is_file()]:
        raise UserError(
            f'{len(missing)} of {len(images)} images of {path} do not exist, such as {missing[0]}; set data_root and '
            f'data_prefix of {config}'
        )
    # A page names no folder of this machine above the current one.
    here, absolute = Path.cwd(), path.absolute()
    name = absolute.relative_to(here) if absolute.is_relative_to(here) else path.name
    return Data(str(name), content, images, list(categories.values()), list(categories))


def _subset(images: list, indices: int | Sequence[int] | None, config: str | Path) -> list:
    """The images that ``indices`` of a data set choose, as mmengine reads them: the first or last ones, or these."""
    if indices is None:
        return images
    if isinstance(indices, int):
        return images[:indices] if indices >= 0 else images[indices:]
    try:
        return [images[index] for index in indices]
    except (IndexError, TypeError) as error:
        raise UserError(
            f'indices in the dataset of test_dataloader of {config} must be a number of images, or a list of '
            f'numbers below {len(images)}, but got {reprlib.repr(indices)}'
        ) from error


def evenly(items: list, most: int | None) -> list:
    """As many items, evenly spaced from the first to the last.

    Args:
        items: Items.
        most: How many at most. None means all.

    Returns:
        The items in their order.

    Example:
        >>> evenly(list('abcde'), 3)
        ['a', 'c', 'e']
    """
    if most is None or most >= len(items):
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]


def to_entries(data: Data, image: int | str, found: Objects) -> list[dict]:
    """What is found in an image as COCO's results.

    Args:
        data: The data.
        image: The id of the image.
        found: The objects.

    Returns:
        An entry for each, with its mask as run lengths if it has one.
    """
    entries = []
    for place, (x1, y1, x2, y2) in enumerate(found.boxes.astype(float).tolist()):
        entry = dict(image_id=image, category_id=data.categories[found.labels[place]], score=float(found.scores[place]))
        entry['bbox'] = [x1, y1, x2 - x1, y2 - y1]
        if found.masks is not None:
            entry['segmentation'] = coco_mask.encode(np.asfortranarray(found.masks[place], np.uint8))
        entries.append(entry)
    return entries


def average_precision(data: Data, entries: Iterable[dict]) -> dict[str, float | None]:
    """COCO's box AP, and mask AP where both sides have masks.

    Args:
        data: The data.
        entries: What is found in all of its images, see :func:`to_entries`.

    Returns:
        ``box_ap`` and ``mask_ap`` in percent points; the latter is None without masks.
    """
    entries = list(entries)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data.content
        truth.createIndex()
        has_masks = all('segmentation' in one for one in entries) and all(
            one.get('segmentation') for one in data.content['annotations']
        )
        return dict(
            box_ap=_ap(data, truth, entries, 'bbox'),
            mask_ap=_ap(data, truth, entries, 'segm') if has_masks else None,
        )


def _ap(data: Data, truth: COCO, entries: list[dict], kind: str) -> float:
    if not entries:
        return 0.0
    # pycocotools writes into the entries; without boxes it takes the areas of masks.
    kept = [{key: value for key, value in one.items() if kind == 'bbox' or key != 'bbox'} for one in entries]
    evaluation = COCOeval(truth, truth.loadRes(kept), kind)
    evaluation.params.imgIds, evaluation.params.catIds = list(data.images), data.categories
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return round(100 * float(evaluation.stats[0]), 4)
