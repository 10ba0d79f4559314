"""What a segmentor got right and wrong: every figure of the report, from true and predicted maps."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from mmfasternet.datasets.palette import has_background

from .confused import Confused, divided

__all__ = ['MapResult', 'compute_map_result', 'confuse', 'ious']

# Share of an image's longer side, by which a border between classes may have moved.
_NEAR = 0.01


@dataclass(frozen=True)
class MapResult(Confused):
    """A segmentor's result, in pixels; those that the truth ignores do not count.

    Args:
        classes: Their names.
        confusion: How many pixels of each true class were predicted as each class, int (C, C).
        moved: The same of the wrong pixels that lie at a border which is predicted nearby.
        pixels: How many count in each image, int (N,).
        wrong: How many of these are wrong, int (N,).
        images: How many images have each class, int (C,).
    """

    classes: list[str]
    confusion: np.ndarray
    moved: np.ndarray
    pixels: np.ndarray
    wrong: np.ndarray
    images: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Of each class; NaN of one that is neither there nor predicted."""
        return ious(self.confusion)

    @property
    def miou(self) -> float:
        """Mean IoU, as mmseg has it."""
        return float(np.nanmean(self.iou))

    @property
    def kinds(self) -> dict[str, np.ndarray]:
        """Kind of error → how many pixels of each true class were predicted as each other class, int (C, C)."""
        others = self.confusion * (1 - np.eye(len(self.classes), dtype=int)) - self.moved
        if not has_background(self.classes):
            return {'border': self.moved, 'confusion': others}
        missed, invented = others.copy(), others.copy()
        missed[:, 1:], invented[1:] = 0, 0
        return {
            'border': self.moved,
            'missed': missed,
            'background': invented,
            'confusion': others - missed - invented,
        }

    def cost(self, wrong: np.ndarray) -> float:
        """The mIoU that fixing errors would give back.

        Args:
            wrong: How many pixels of each true class are fixed, by what they were predicted as, int (C, C).

        Returns:
            From 0 to 1.
        """
        fixed = self.confusion - wrong
        fixed[np.diag_indices(len(fixed))] += wrong.sum(1)
        return float(np.nanmean(ious(fixed))) - self.miou


def compute_map_result(classes: list[str], pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> MapResult:
    """Compute all figures.

    Args:
        classes: Their names.
        pairs: The true and the predicted map of each image, uint8 (H, W) each.

    Returns:
        The figures.

    Example:
        >>> true = np.array([[0, 0, 1, 255]], np.uint8)
        >>> compute_map_result(['a', 'b'], [(true, true * 0)]).confusion.tolist()
        [[2, 0], [1, 0]]
    """
    number = len(classes)
    confusion, moved = np.zeros((number, number), int), np.zeros((number, number), int)
    pixels, wrong, images = [], [], np.zeros(number, int)
    for true, found in pairs:
        counts = confuse(true, found, number)
        confusion += counts
        moved += confuse(np.where(_at_moved_border(true, found), true, 255), found, number)
        pixels.append(counts.sum())
        wrong.append(counts.sum() - counts.trace())
        images += counts.sum(1) > 0
    return MapResult(classes, confusion, moved, np.array(pixels), np.array(wrong), images)


def confuse(true: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of each true class that were predicted as each class.

    Args:
        true: A map, uint8 (H, W); what is no class is ignored.
        found: The predicted one, uint8 (H, W).
        classes: Number of classes.

    Returns:
        int (classes, classes).

    Example:
        >>> confuse(np.array([[0, 1, 255]]), np.array([[1, 1, 1]]), 2).tolist()
        [[0, 1], [0, 1]]
    """
    counts = true < classes
    places = true[counts].astype(int) * classes + found[counts]
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)


def ious(confusion: np.ndarray) -> np.ndarray:
    """The IoU of each class.

    Args:
        confusion: How many pixels of each true class were predicted as each class, int (C, C).

    Returns:
        float (C,); NaN of a class that is neither there nor predicted.

    Example:
        >>> ious(np.array([[6, 2, 0], [0, 2, 0], [0, 0, 0]])).tolist()
        [0.75, 0.5, nan]
    """
    both = confusion.diagonal()
    return divided(both, confusion.sum(0) + confusion.sum(1) - both)


def _at_moved_border(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Which pixels are wrong and have their true class predicted, and their predicted one true, near them, bool (H, W).

    What is missed or invented as a whole is not among them, however small it is.
    """
    reach = max(1, round(_NEAR * max(true.shape)))
    wrong = true != found
    found_near, true_near = np.zeros_like(wrong), np.zeros_like(wrong)
    for label in np.unique(np.concatenate([true[wrong], found[wrong]])):
        found_near |= (true == label) & _around(found == label, reach)
        true_near |= (found == label) & _around(true == label, reach)
    return wrong & found_near & true_near


def _around(mask: np.ndarray, reach: int) -> np.ndarray:
    size = (2 * reach + 1, 2 * reach + 1)
    counts = cv2.boxFilter(mask.astype(np.uint8), cv2.CV_32S, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
    return counts > 0
