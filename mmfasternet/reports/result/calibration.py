"""Whether scores mean what they say: of the detections with a score of 0.8, 80 % should be right."""

from typing import NamedTuple

import numpy as np

__all__ = ['Bin', 'calibration_bins', 'calibration_error']


class Bin(NamedTuple):
    """The detections with scores in a range."""

    #: The range, with its upper end only if that is 1.
    low: float
    high: float
    #: How many there are, their mean score, and the share that is right; NaN if there are none.
    count: int
    score: float
    right: float


def calibration_bins(score: np.ndarray, right: np.ndarray, number: int = 10) -> list[Bin]:
    """Sort detections by score into ranges of equal width.

    Args:
        score: Of each detection, between 0 and 1.
        right: Whether it has found an object.
        number: Of ranges. Defaults to 10.

    Returns:
        A bin for each range.

    Example:
        >>> calibration_bins(np.array([0.2, 0.4, 1.0]), np.array([False, True, True]), 2)[1]
        Bin(low=0.5, high=1.0, count=1, score=1.0, right=1.0)
    """
    place = np.minimum((score * number).astype(int), number - 1)
    bins = []
    for index in range(number):
        here = place == index
        count = int(here.sum())
        means = (float(score[here].mean()), float(right[here].mean())) if count else (float('nan'),) * 2
        bins.append(Bin(index / number, (index + 1) / number, count, *means))
    return bins


def calibration_error(bins: list[Bin]) -> float:
    """The expected calibration error: how far scores are off the share that is right, as a mean over all detections.

    Args:
        bins: From :func:`calibration_bins`.

    Returns:
        Between 0, where scores mean what they say, and 1; NaN if no bin has detections.

    Example:
        >>> round(calibration_error([Bin(0, 0.5, 3, 0.25, 0.0), Bin(0.5, 1, 1, 0.75, 1.0)]), 4)
        0.25
    """
    filled = [one for one in bins if one.count]
    if not filled:
        return float('nan')
    return sum(one.count * abs(one.right - one.score) for one in filled) / sum(one.count for one in filled)
