"""AP as COCO defines it.

The values are those of pycocotools, which takes minutes and gigabytes for 5,000 images, and matches what is matched.
"""

from dataclasses import dataclass

import numpy as np

from .matches import SIZES, Matches

__all__ = ['CocoAP', 'average_precision', 'coco_ap', 'mean_precision']


@dataclass(frozen=True)
class CocoAP:
    """APs between 0 and 1; NaN where there are no objects."""

    #: The mean over IoUs from 0.5 to 0.95, and AP at an IoU of 0.5.
    ap: float
    ap50: float
    #: Size → AP, and number of objects.
    by_size: dict[str, float]
    sizes: dict[str, int]
    #: Of each class: AP and AP50.
    by_class: np.ndarray
    by_class50: np.ndarray


def coco_ap(matches: Matches) -> CocoAP:
    """Compute AP, of all objects, of each size and of each class.

    Args:
        matches: Detections and objects.

    Returns:
        The APs.
    """
    order = np.lexsort((-matches.score, matches.label))
    spans = np.searchsorted(matches.label[order], np.arange(len(matches.counts) + 1))
    # Classes, sizes, IoUs.
    aps = np.full((*matches.counts.shape, matches.right.shape[2]), np.nan)
    for label, (start, end) in enumerate(zip(spans, spans[1:], strict=False)):
        right = matches.right[order[start:end]]
        for size, iou in np.ndindex(aps.shape[1:]):
            outcome = right[:, size, iou]
            aps[label, size, iou] = _precision_of_sorted(outcome[outcome >= 0] > 0, matches.counts[label, size])
    return CocoAP(
        ap=_mean(aps[:, 0]),
        ap50=_mean(aps[:, 0, 0]),
        by_size={size: _mean(aps[:, place]) for place, size in enumerate(SIZES) if place},
        sizes={size: int(matches.counts[:, place].sum()) for place, size in enumerate(SIZES) if place},
        by_class=aps[:, 0].mean(1),
        by_class50=aps[:, 0, 0],
    )


def _mean(values: np.ndarray) -> float:
    """The mean of those that are defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float('nan')


def average_precision(score: np.ndarray, right: np.ndarray, count: int) -> float:
    """The AP of one class as COCO has it: the mean, over 101 recalls, of the best precision at that recall or beyond.

    Args:
        score: Of each detection.
        right: Whether it has found an object.
        count: Number of objects.

    Returns:
        AP between 0 and 1; NaN without objects.

    Example:
        >>> average_precision(np.array([0.9, 0.8]), np.array([True, False]), 1)
        1.0
    """
    return _precision_of_sorted(right[np.argsort(-score, kind='stable')], count)


def _precision_of_sorted(right: np.ndarray, count: int) -> float:
    if count == 0:
        return float('nan')
    hits = np.cumsum(right)
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    at = np.searchsorted(hits / count, np.linspace(0, 1, 101), side='left')
    return float(np.append(precision, 0.0)[at].mean())


def mean_precision(label: np.ndarray, score: np.ndarray, right: np.ndarray, counts: np.ndarray) -> float:
    """The mean of the APs of all classes that have objects.

    Args:
        label: The class of each detection.
        score: Its score.
        right: Whether it has found an object.
        counts: Number of objects of each class.

    Returns:
        AP between 0 and 1.

    Example:
        >>> mean_precision(np.array([0]), np.array([0.9]), np.array([True]), np.array([1, 0, 1]))
        0.5
    """
    order = np.argsort(label, kind='stable')
    parts = np.split(order, np.searchsorted(label[order], np.arange(1, len(counts))))
    aps = [average_precision(score[part], right[part], count) for part, count in zip(parts, counts, strict=True)]
    return _mean(np.array(aps))
