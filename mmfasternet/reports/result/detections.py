"""What a detector has found, from files of COCO results, every value checked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask
from rich.progress import track

from mmfasternet.datasets.annotations import read_annotations
from mmfasternet.datasets.findings import Findings
from mmfasternet.datasets.segmentations import are_runs, uncompressed
from mmfasternet.errors import UserError

from .truth import Truth

__all__ = ['PER_IMAGE_AND_CLASS', 'Detections', 'Found', 'read_found']

#: As many detections of a class in an image as COCO's AP takes, those of the highest scores.
PER_IMAGE_AND_CLASS = 100

# As many detections as are checked in a moment; a bar shows the progress of more.
_MANY = 50_000
# Pixels; as far as a coordinate of a detection may reach.
_FAR = 1e6


@dataclass(frozen=True)
class Detections:
    """Detections, those of an image together, and of these the best score first."""

    #: Their images and classes, by the numbers of the truth.
    image: np.ndarray
    label: np.ndarray
    #: Between 0 and 1.
    score: np.ndarray
    #: x, y, width and height (N, 4).
    boxes: np.ndarray
    #: Run lengths as pycocotools has them; None if they are boxes alone.
    masks: list[dict] | None = None

    def __len__(self) -> int:
        return len(self.score)

    @property
    def mask_areas(self) -> np.ndarray:
        """The area of each mask in pixels."""
        # One by one: pycocotools' own loop fails under numpy 2 for more than 255 masks.
        return np.array([float(coco_mask.area(mask)) for mask in self.masks])


class Found(NamedTuple):
    """Boxes and masks that a detector has found."""

    #: They have masks as well if the file of masks holds the same detections.
    boxes: Detections
    #: None without a file of masks.
    masks: Detections | None


def read_found(paths: Sequence[str | Path], truth: Truth) -> Found:
    """Read what a detector has found: a file of boxes, or one of masks, or both.

    Args:
        paths: One or two files of COCO results, such as the ``NAME.bbox.json`` and ``NAME.segm.json`` that mmdet's
            ``CocoMetric`` writes.
        truth: The truth, which has the images and the classes.

    Returns:
        The detections. Without a file of boxes, they are those in the file of masks, or those around its masks.

    Raises:
        UserError: If a file can't be read, is of another kind, holds nothing or a value that can't be.

    Example:
        >>> import json
        >>> from mmfasternet.reports.result.truth import read_truth
        >>> image, box = dict(id=7, file_name='a.png', width=8, height=6), dict(image_id=7, bbox=[1, 2, 3, 4])
        >>> content = dict(images=[image], annotations=[box | dict(category_id=3)], categories=[dict(id=3, name='cat')])
        >>> _ = Path('coco.json').write_text(json.dumps(content))
        >>> _ = Path('found.bbox.json').write_text(json.dumps([box | dict(category_id=3, score=0.9)]))
        >>> found = read_found(['found.bbox.json'], read_truth('coco.json'))
        >>> found.boxes.score.tolist(), found.masks
        ([0.9], None)
    """
    files = {}
    for path in paths:
        detections = _read(path, truth)
        kind = 'boxes' if detections.masks is None else 'masks'
        if kind in files:
            raise UserError(f'{path} holds {kind}, as another of the files does; give one file of boxes, one of masks')
        files[kind] = detections
    masks = files.get('masks')
    boxes = files.get('boxes', masks)
    if masks is not boxes and masks is not None and _are_the_same(boxes, masks):
        boxes = replace(boxes, masks=masks.masks)
    return Found(boxes, masks)


def _are_the_same(some: Detections, others: Detections) -> bool:
    return all(np.array_equal(getattr(some, key), getattr(others, key)) for key in ('image', 'label', 'score'))


def _read(path: str | Path, truth: Truth) -> Detections:
    if Path(path).suffix.lower() in ('.pkl', '.pickle'):
        raise UserError(
            f'{path} is a pickle, which is not read, since it may run code. Let mmdet write JSON: '
            '--cfg-options test_evaluator.outfile_prefix=work_dirs/found'
        )
    entries = read_annotations(path)
    if not isinstance(entries, list):
        truth_like = isinstance(entries, dict) and 'annotations' in entries
        held = 'is annotations' if truth_like else f'is a {type(entries).__name__}'
        raise UserError(f'{path} {held}; give the results of a detector, a list of image_id, category_id, bbox, score')
    if not entries:
        raise UserError(
            f'{path} holds no detections: the detector found nothing above its lowest score. Lower that score, such as '
            'test_cfg.score_thr of mmdet, or train longer'
        )
    faults = Findings()
    with_masks = any(isinstance(entry, dict) and entry.get('segmentation') for entry in entries)
    shown = track(entries, 'checking predictions', transient=True, disable=len(entries) < _MANY)
    for index, entry in enumerate(shown):
        _check(faults, f'detection {index}', entry, truth, with_masks)
    if faults:
        raise UserError(faults.text(str(path)))
    image = np.array([truth.image_of_id[entry['image_id']] for entry in entries])
    label = np.array([truth.class_of_id[entry['category_id']] for entry in entries])
    score = np.array([entry['score'] for entry in entries], float)
    kept = _best(image, label, score)
    masks = [_runs(entries[index]['segmentation']) for index in kept] if with_masks else None
    has_boxes = all('bbox' in entry for entry in entries)
    boxes = [entries[index]['bbox'] for index in kept] if has_boxes else coco_mask.toBbox(masks)
    return Detections(image[kept], label[kept], score[kept], np.array(boxes, float), masks)


def _best(image: np.ndarray, label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The detections to keep, sorted by image and score; where scores are equal, the order of the file holds."""
    order = np.lexsort((-score, label, image))
    starts = np.r_[True, (np.diff(image[order]) != 0) | (np.diff(label[order]) != 0)]
    positions = np.arange(len(order))
    rank = positions - np.maximum.accumulate(np.where(starts, positions, 0))
    order = np.sort(order[rank < PER_IMAGE_AND_CLASS])
    return order[np.lexsort((-score[order], image[order]))]


def _runs(segmentation: dict) -> dict:
    counts = segmentation['counts']
    if isinstance(counts, list):
        return coco_mask.frPyObjects(segmentation, *segmentation['size'])
    return dict(size=segmentation['size'], counts=counts.encode())


def _check(faults: Findings, where: str, entry: Any, truth: Truth, with_masks: bool) -> None:
    if not isinstance(entry, dict):
        faults.add(
            'entry', f'{where} must be an object with image_id, category_id, bbox and score, but is {entry!r:.60}'
        )
        return
    refuse = partial(_refuse, faults, where, entry)
    for key, known in (('image_id', truth.image_of_id), ('category_id', truth.class_of_id)):
        number = entry.get(key)
        if type(number) not in (int, str) or number not in known:
            first = ', '.join(map(repr, list(known)[:3])) + ', …' * (len(known) > 3)
            refuse(key, f'the id of one of the {len(known)} {_plural(key)} of the truth ({first:.60})')
            return
    if not (_are_finite([entry.get('score')]) and 0 <= entry['score'] <= 1):
        refuse('score', 'a number between 0 and 1')
    if with_masks:
        width, height = truth.sizes[truth.image_of_id[entry['image_id']]]
        _check_mask(refuse, entry.get('segmentation'), int(width), int(height))
    if 'bbox' in entry or not with_masks:
        box = entry.get('bbox')
        if not (isinstance(box, list) and len(box) == 4 and _are_finite(box) and min(box[2:]) >= 0):
            refuse('bbox', 'x, y, width and height, four finite numbers')


def _plural(key: str) -> str:
    return 'images' if key == 'image_id' else 'categories'


def _check_mask(refuse: partial, mask: Any, width: int, height: int) -> None:
    if not isinstance(mask, dict) or mask.get('size') != [height, width]:
        refuse('segmentation', f'run lengths of the size [{height}, {width}] of its image')
        return
    counts = mask.get('counts')
    if isinstance(counts, str):
        counts = uncompressed(counts)
    # pycocotools would write past the end of the mask.
    if not isinstance(counts, list) or set(map(type, counts)) != {int} or not are_runs(counts, width * height):
        refuse('segmentation', 'run lengths of all pixels of its image')


def _are_finite(numbers: list) -> bool:
    return all(type(number) in (int, float) and math.isfinite(number) and abs(number) < _FAR for number in numbers)


def _refuse(faults: Findings, where: str, entry: dict, key: str, expected: str) -> None:
    value = f'{entry[key]!r:.60}' if key in entry else 'missing'
    faults.add(key, f'{where}: "{key}" must be {expected}, but is {value}')
