"""What follows from how often each class was taken for which, of pixels or of images."""

import numpy as np

__all__ = ['Confused', 'divided', 'weak_classes']

# A class is weak if its figure is below this share of the others'.
_WEAK = 0.7


class Confused:
    """A result that has a confusion matrix."""

    #: How many of each true class were taken for each class, int (C, C).
    confusion: np.ndarray

    @property
    def recall(self) -> np.ndarray:
        """Share of each class that is found, which mmseg calls accuracy; NaN of one that is not there."""
        return divided(self.confusion.diagonal(), self.confusion.sum(1))

    @property
    def precision(self) -> np.ndarray:
        """Share of what is taken for each class that is right; NaN of one that is not predicted."""
        return divided(self.confusion.diagonal(), self.confusion.sum(0))

    @property
    def accuracy(self) -> float:
        """Share of all that is right."""
        return float(self.confusion.trace() / self.confusion.sum())


def divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Shares.

    Args:
        part: Numbers.
        whole: Those that they are of.

    Returns:
        From 0 to 1; NaN where there is nothing.

    Example:
        >>> divided(np.array([1, 0]), np.array([2, 0])).tolist()
        [0.5, nan]
    """
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def weak_classes(figures: np.ndarray, present: np.ndarray) -> tuple[list[int], float]:
    """Find classes whose figure is much lower than that of the others.

    Args:
        figures: Of each class, float (C,).
        present: Whether each class is there, bool (C,).

    Returns:
        The classes, the lowest figure first, and the mean of the others; none if they are all alike.

    Example:
        >>> weak_classes(np.array([0.9, 0.1, 0.7]), np.array([True, True, True]))
        ([1], 0.8)
    """
    there = np.flatnonzero(present)
    weak = [
        label
        for label in there.tolist()
        if len(there) > 1 and figures[label] < _WEAK * figures[np.setdiff1d(there, label)].mean()
    ]
    rest = np.setdiff1d(there, weak)
    if not weak or not len(rest):
        return [], float('nan')
    return sorted(weak, key=lambda label: figures[label]), float(figures[rest].mean())
