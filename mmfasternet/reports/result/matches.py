"""Which detection has found which object, and what the others lie on: computed once, and all figures follow from it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask
from rich.progress import track

from .detections import Detections
from .truth import Truth

__all__ = ['FOUND', 'SIZES', 'Matches', 'match']

#: An object is found by a detection of its class whose IoU with it is at least this.
FOUND = 0.5
#: Sizes of objects, and their areas in pixels, as COCO has them.
SIZES = {'all': (0, 1e10), 'small': (0, 32**2), 'medium': (32**2, 96**2), 'large': (96**2, 1e10)}

_IOUS = np.linspace(FOUND, 0.95, 10)

# As many images as are matched in a moment; a bar shows the progress of more.
_MANY = 500


@dataclass(frozen=True)
class Matches:
    """Detections and objects, matched. Crowds are no objects."""

    #: Objects: their numbers in the truth, images and classes; and of each class and size, how many there are (K, S).
    object_number: np.ndarray
    object_image: np.ndarray
    object_label: np.ndarray
    counts: np.ndarray
    #: Detections: images, classes, scores.
    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    #: Detections: the object that each has found, by its number in the truth; -1 if none.
    found: np.ndarray
    #: Detections: the object of its own class that it overlaps most, and the one of another class; and their IoUs.
    own: np.ndarray
    own_iou: np.ndarray
    other: np.ndarray
    other_iou: np.ndarray
    #: Detections: whether it is right, among the objects of each size and at each IoU, int8 (N, S, 10): 1, 0, or -1 if
    #: it does not count, as it lies in a crowd or on an object of another size.
    right: np.ndarray


def match(truth: Truth, detections: Detections, masks: bool = False) -> Matches:
    """Match detections and objects as COCO's evaluation does.

    In each image and class, the detection of the highest score comes first, and finds the object that it overlaps most
    of those that are left, if the IoU is high enough.

    Args:
        truth: The objects.
        detections: The detections.
        masks: Whether the IoU is that of the masks, which both must have. Defaults to False, that of the boxes.

    Returns:
        The matches. All but ``right`` is at an IoU of 0.5, and of objects of all sizes.
    """
    count, images = len(detections), len(truth.files)
    found, own, other = np.full((3, count), -1)
    own_iou, other_iou = np.zeros((2, count))
    # COCO compares a detection's size by its own area.
    areas = detections.mask_areas if masks else detections.boxes[:, 2] * detections.boxes[:, 3]
    right = np.where(_in_sizes(areas), 0, -1)[:, :, None].repeat(len(_IOUS), 2).astype(np.int8)
    regular = _in_sizes(truth.area) & ~truth.crowd[:, None]
    shapes = (detections.masks, truth.masks) if masks else (detections.boxes, truth.boxes)
    spans = zip(*(_spans(image, images) for image in (detections.image, truth.image)), strict=True)
    for here, near in track(spans, 'matching', images, transient=True, disable=images < _MANY):
        if here.start == here.stop or near.start == near.stop:
            continue
        # Of equal IoUs, pycocotools takes the last, and argmax the first.
        numbers = np.arange(near.start, near.stop)[::-1]
        crowd = truth.crowd[numbers]
        near_shapes = [shapes[1][number] for number in numbers] if masks else shapes[1][numbers]
        # Of two shapes without a size it is 0 / 0.
        iou = np.nan_to_num(coco_mask.iou(shapes[0][here], near_shapes, crowd))
        is_own = detections.label[here, None] == truth.label[None, numbers]
        for best, best_iou, shared in ((own, own_iou, iou * is_own), (other, other_iou, iou * ~is_own)):
            shared = shared * ~crowd
            best[here], best_iou[here] = numbers[shared.argmax(1)], shared.max(1)
        for row, choice, hit, is_right in _greedy(iou * is_own, regular[numbers].T[:, None], crowd):
            right[here.start + row] = np.where(hit, np.where(is_right, 1, -1), right[here.start + row])
            if is_right[0, 0]:
                found[here.start + row] = numbers[choice[0, 0]]
    objects = np.flatnonzero(~truth.crowd)
    counts = [np.bincount(truth.label[of_size], minlength=len(truth.classes)) for of_size in regular.T]
    return Matches(
        objects,
        truth.image[objects],
        truth.label[objects],
        np.stack(counts, 1),
        *(detections.image, detections.label, detections.score),
        *(found, own, own_iou, other, other_iou),
        right,
    )


def _in_sizes(areas: np.ndarray) -> np.ndarray:
    """Whether each area is of each size, ends included as COCO has it."""
    return np.stack([(areas >= low) & (areas <= high) for low, high in SIZES.values()], 1)


def _spans(image: np.ndarray, count: int) -> list[slice]:
    """Where the entries of each image are, of entries sorted by image."""
    edges = np.searchsorted(image, np.arange(count + 1)).tolist()
    return [slice(start, end) for start, end in zip(edges, edges[1:], strict=False)]


def _greedy(iou: np.ndarray, regular: np.ndarray, crowd: np.ndarray) -> Iterator[tuple]:
    """Let each row in turn find a column, of each size and at each IoU (S, 10).

    Yields the row, its columns, whether it found them, and whether these are regular. Columns that are not, crowds and
    objects of another size, are taken only where no regular one is left, and crowds any number of times.
    """
    free = np.ones((len(regular), len(_IOUS), len(crowd)), bool)
    sizes, ious = np.ogrid[: len(regular), : len(_IOUS)]
    for row in np.flatnonzero(iou.max(1) >= _IOUS[0]):
        able = free & (iou[row] >= _IOUS[:, None])
        # An IoU is at most 1, so any regular column comes before all others.
        choice = np.where(able, iou[row] + 2 * regular, -1).argmax(2)
        hit = able[sizes, ious, choice]
        free[sizes, ious, choice] &= ~hit | crowd[choice]
        yield row, choice, hit, hit & regular[sizes, 0, choice]
