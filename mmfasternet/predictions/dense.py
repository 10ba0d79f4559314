"""Boxes, scores and labels from the maps of a detector of one stage, for runtimes that stop at its head: numpy alone.

The steps are those of ``mmfasternet/deploy/heads/dense.py``, which other exported files hold themselves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ['Decoding', 'decoding_of', 'suppress']

# mmdet's wh_ratio_clip: a box grows or shrinks by at most this factor.
_MAX_LOG_RATIO = abs(math.log(16 / 1000))
# Levels of a head, priors at a place, and a number in a file, at most.
_LEVELS, _PRIORS, _LARGEST = 16, 256, 1e6
# Kind → numbers of a prior.
_KINDS = dict(deltas=4, distances=2)
# float32 rounds a score that lies at the limit to either side; those so near are computed.
_MARGIN = 1e-3


@dataclass(frozen=True)
class Decoding:
    """How the maps of a head are read.

    Args:
        kind: 'deltas' of anchors x1, y1, x2, y2, or 'distances' of a box's sides from points x, y.
        levels: Of each level the stride x, y in pixels, and the priors at its first place (n, 4) or (n, 2).
        nms_pre: The most boxes of a level that reach NMS.
        score_thr: Boxes of this score and below are left out.
        min_bbox_size: Boxes whose sides are not longer are left out, in pixels; below 0, none are.
        iou_threshold: Of NMS.
        max_per_img: The most boxes of an image.
        means: What deltas have to be moved by. Defaults to 0.
        stds: What they have to be multiplied by before. Defaults to 1.
    """

    kind: str
    levels: list[tuple[np.ndarray, np.ndarray]]
    nms_pre: int
    score_thr: float
    min_bbox_size: float
    iou_threshold: float
    max_per_img: int
    means: Sequence[float] = (0.0,) * 4
    stds: Sequence[float] = (1.0,) * 4

    def __call__(self, maps: Sequence[np.ndarray], height: int, width: int) -> list[np.ndarray]:
        """Find the objects of an image.

        Args:
            maps: For each level logits of classes (priors · classes, h, w); for each level deltas (priors · 4, h, w);
                and, of heads that weight scores, for each level the logits of the factor (priors, h, w).
            height: Of the image.
            width: Of the image.

        Returns:
            Boxes x1, y1, x2, y2 in pixels (n, 4), scores (n,), highest first, and labels (n,).

        Raises:
            ValueError: If the maps are not those of such a head.
        """
        number = len(self.levels)
        if len(maps) not in (2 * number, 3 * number):
            raise ValueError(f'{len(maps)} maps, not {2 * number} or {3 * number}')
        groups = [maps[start : start + number] for start in range(0, len(maps), number)]
        found = [self._best(*level, *of) for level, *of in zip(self.levels, *groups, strict=True)]
        priors, deltas, scores, labels = (np.concatenate(values) for values in zip(*found, strict=True))
        boxes = self._boxes(priors, deltas, height, width)
        if self.min_bbox_size >= 0:
            large = (boxes[:, 2:] - boxes[:, :2] > self.min_bbox_size).all(axis=1)
            boxes, scores, labels = boxes[large], scores[large], labels[large]
        kept = suppress(boxes, scores, labels, self.iou_threshold, self.max_per_img)
        return [boxes[kept], scores[kept], labels[kept]]

    def _best(
        self,
        stride: np.ndarray,
        priors: np.ndarray,
        logits: np.ndarray,
        deltas: np.ndarray,
        factors: np.ndarray | None = None,
    ) -> tuple[np.ndarray, ...]:
        """The most likely boxes of a level: priors, deltas (n, 4), scores and labels (n,)."""
        each, (height, width) = len(priors), logits.shape[1:]
        shapes = [deltas.shape, *([] if factors is None else [factors.shape])]
        if len(logits) % each or shapes != [(each * columns, height, width) for columns in (4, 1)][: len(shapes)]:
            raise ValueError(f'maps of {logits.shape} and {shapes} for {each} priors at a place')
        classes = len(logits) // each
        flat = logits.transpose(1, 2, 0).reshape(-1)
        limit = -math.inf if self.score_thr <= 0 else math.log(self.score_thr / (1 - self.score_thr)) - _MARGIN
        sure = np.flatnonzero(flat > limit)
        scores = _sigmoid(flat[sure])
        sure, scores = sure[scores > self.score_thr], scores[scores > self.score_thr]
        order = np.argsort(-scores, kind='stable')[: self.nms_pre]
        sure, scores = sure[order], scores[order]
        places, labels = sure // classes, sure % classes
        pixels, which = places // each, places % each
        moved = np.stack([pixels % width, pixels // width], axis=1).astype(np.float32) * stride
        starts = priors[which] + np.tile(moved, priors.shape[1] // 2)
        if factors is not None:
            scores = scores * _sigmoid(factors.transpose(1, 2, 0).reshape(-1)[places])
        return starts, deltas.transpose(1, 2, 0).reshape(-1, 4)[places], scores, labels

    def _boxes(self, priors: np.ndarray, deltas: np.ndarray, height: int, width: int) -> np.ndarray:
        """The boxes (n, 4), clipped to the image."""
        if self.kind == 'distances':
            corners = [priors - deltas[:, :2], priors + deltas[:, 2:]]
        else:
            deltas = deltas * np.float32(self.stds) + np.float32(self.means)
            size = priors[:, 2:] - priors[:, :2]
            centre = (priors[:, :2] + priors[:, 2:]) * np.float32(0.5) + size * deltas[:, :2]
            half = size * np.exp(deltas[:, 2:].clip(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)) * np.float32(0.5)
            corners = [centre - half, centre + half]
        return np.concatenate(corners, axis=1).clip(0, [width, height] * 2).astype(np.float32)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over='ignore'):
        return 1 / (1 + np.exp(-logits.astype(np.float32)))


def suppress(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, iou_threshold: float, most: int) -> np.ndarray:
    """Choose boxes by NMS; those of different labels do not suppress each other.

    Args:
        boxes: x1, y1, x2, y2 (n, 4).
        scores: Of the boxes (n,).
        labels: Of the boxes (n,).
        iou_threshold: A box that overlaps a likelier one by more is left out.
        most: The largest number that is kept.

    Returns:
        Indices of those that remain, highest score first.

    Example:
        >>> boxes = np.float32([[0, 0, 9, 9], [0, 0, 9, 10], [20, 0, 29, 9]])
        >>> suppress(boxes, np.float32([0.6, 0.9, 0.3]), np.array([0, 0, 0]), 0.5, 10).tolist()
        [1, 2]
    """
    # Each label has its own region. The distance is mmdet's, so that sums are rounded as there.
    distance = boxes.max(initial=0) + 1
    moved = boxes + (labels * distance).astype(np.float32)[:, None]
    areas = (moved[:, 2:] - moved[:, :2]).prod(axis=1)
    left, kept = np.argsort(-scores, kind='stable'), []
    while len(left) and len(kept) < most:
        best, left = left[0], left[1:]
        kept.append(best)
        corner = np.maximum(moved[best, :2], moved[left, :2])
        shared = (np.minimum(moved[best, 2:], moved[left, 2:]) - corner).clip(0).prod(axis=1)
        with np.errstate(invalid='ignore', divide='ignore'):
            overlap = shared / (areas[best] + areas[left] - shared)
        left = left[~(overlap > iou_threshold)]
    return np.array(kept, int)


def decoding_of(found: Any) -> Decoding:
    """Read how maps are decoded from what a file says, which anybody may have written.

    Args:
        found: The arguments of :class:`Decoding`, each level an object with ``stride`` and ``priors``.

    Returns:
        The decoding.

    Raises:
        ValueError: If something is missing, or is not what it should be; the message names it.

    Example:
        >>> level = dict(stride=[8, 8], priors=[[0, 0]])
        >>> limits = dict(nms_pre=9, score_thr=0.1, min_bbox_size=-1, iou_threshold=0.6, max_per_img=5)
        >>> decoding_of(dict(kind='distances', levels=[level], **limits)).max_per_img
        5
    """
    if not isinstance(found, dict) or found.get('kind') not in _KINDS:
        raise ValueError(f'kind should be one of {", ".join(_KINDS)}')
    levels = found.get('levels')
    if not isinstance(levels, list) or not 0 < len(levels) <= _LEVELS:
        raise ValueError(f'levels should be a list of 1 to {_LEVELS}')
    read = []
    for level in levels:
        stride, priors = (level.get(key) if isinstance(level, dict) else None for key in ('stride', 'priors'))
        if not _are_numbers(stride, 2) or min(stride) <= 0:
            raise ValueError('stride should be two numbers above 0')
        if not isinstance(priors, list) or not 0 < len(priors) <= _PRIORS:
            raise ValueError(f'priors should be a list of 1 to {_PRIORS}')
        if not all(_are_numbers(prior, _KINDS[found['kind']]) for prior in priors):
            raise ValueError(f'a prior should be {_KINDS[found["kind"]]} numbers')
        read.append((np.float32(stride), np.float32(priors)))
    settings = {}
    for name in ('nms_pre', 'max_per_img'):
        if type(found.get(name)) is not int or not 0 < found[name] <= _LARGEST:
            raise ValueError(f'{name} should be a number from 1')
        settings[name] = found[name]
    for name, least, below in (('score_thr', 0, 1), ('iou_threshold', 0, 1.01), ('min_bbox_size', -1, _LARGEST)):
        if not _are_numbers([found.get(name)], 1) or not least <= found[name] < below:
            raise ValueError(f'{name} should be a number from {least} to {below}')
        settings[name] = found[name]
    for name in ('means', 'stds'):
        if name in found:
            if not _are_numbers(found[name], 4):
                raise ValueError(f'{name} should be four numbers')
            settings[name] = found[name]
    return Decoding(found['kind'], read, **settings)


def _are_numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and abs(value) <= _LARGEST for value in values)
    )
