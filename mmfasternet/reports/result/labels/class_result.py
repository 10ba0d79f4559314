"""What a classifier got right and wrong: every figure of the report, from true classes and scores."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmfasternet.reports.result.calibration import Bin, calibration_bins

from .confused import Confused, divided
from .truth import ImageList

__all__ = ['ClassResult', 'likely_range']

_Z = 1.96  # standard deviations of a normal distribution that hold 95 %


@dataclass(frozen=True)
class ClassResult(Confused):
    """A classifier's result.

    Args:
        truth: The images and their classes.
        scores: Of each image and class, between 0 and 1, float (N, C).

    Example:
        >>> truth = ImageList(['cat', 'dog'], ['a', 'b', 'c'], np.array([0, 1, 1]))
        >>> result = ClassResult(truth, np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]))
        >>> result.confusion.tolist(), result.precision.tolist()
        ([[1, 0], [1, 1]], [0.5, 1.0])
    """

    truth: ImageList
    scores: np.ndarray

    @cached_property
    def found(self) -> np.ndarray:
        """Number of the class with the highest score, of each image."""
        return self.scores.argmax(1)

    @cached_property
    def score(self) -> np.ndarray:
        """The highest score of each image."""
        return self.scores.max(1)

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each image's class has the highest score."""
        return self.found == self.truth.labels

    @cached_property
    def confusion(self) -> np.ndarray:
        """How many images of each true class were taken for each class, int (C, C)."""
        number = len(self.truth.classes)
        return np.bincount(self.truth.labels * number + self.found, minlength=number**2).reshape(number, number)

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall of each class."""
        return divided(2 * self.confusion.diagonal(), self.confusion.sum(0) + self.confusion.sum(1))

    def top(self, number: int) -> float:
        """Share of the images whose class is among those with the highest scores.

        Args:
            number: Of classes.

        Returns:
            From 0 to 1.
        """
        best = np.argsort(-self.scores, axis=1, kind='stable')[:, :number]
        return float((best == self.truth.labels[:, None]).any(1).mean())

    @property
    def bins(self) -> list[Bin]:
        """The images by their highest score."""
        return calibration_bins(self.score, self.right)

    @property
    def mistakes(self) -> np.ndarray:
        """Places of the images that are wrong, those with the highest scores first."""
        wrong = np.flatnonzero(~self.right)
        return wrong[np.argsort(-self.score[wrong], kind='stable')]


def likely_range(share: float, count: int) -> tuple[float, float]:
    """Where a share probably is that was found on a few: Wilson's interval of 95 %.

    Args:
        share: What was found.
        count: On how many.

    Returns:
        Its lower and upper end.

    Example:
        >>> [round(end, 2) for end in likely_range(0.85, 20)]
        [0.64, 0.95]
    """
    middle = share + _Z**2 / (2 * count)
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return max(0.0, (middle - half) / (1 + _Z**2 / count)), min(1.0, (middle + half) / (1 + _Z**2 / count))
