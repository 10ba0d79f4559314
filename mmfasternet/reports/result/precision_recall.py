"""Precision against recall, and the score threshold with the best F1."""

from dataclasses import dataclass

import numpy as np

__all__ = ['Curve', 'draw_curve']


@dataclass(frozen=True)
class Curve:
    """Precision and recall as the score threshold falls."""

    #: Scores that occur, from the highest to the lowest.
    thresholds: np.ndarray
    #: At each threshold, between 0 and 1.
    precision: np.ndarray
    recall: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """The harmonic mean of precision and recall at each threshold."""
        both = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, both, out=np.zeros_like(both), where=both > 0)

    @property
    def best(self) -> int | None:
        """The place of the best F1, the highest threshold if there are several; None if nothing is right."""
        return int(self.f1.argmax()) if self.f1.any() else None


def draw_curve(score: np.ndarray, right: np.ndarray, count: int) -> Curve:
    """Precision and recall at every score threshold.

    Args:
        score: Of each detection.
        right: Whether it has found an object.
        count: Number of objects, 1 or more.

    Returns:
        The curve.

    Example:
        >>> curve = draw_curve(np.array([0.9, 0.5, 0.5]), np.array([True, True, False]), 2)
        >>> curve.thresholds.tolist(), curve.recall.tolist()
        ([0.9, 0.5], [0.5, 1.0])
        >>> float(curve.thresholds[curve.best])
        0.5
    """
    order = np.argsort(-score, kind='stable')
    score, hits = score[order], np.cumsum(right[order])
    # Detections of one score are taken together.
    last = np.flatnonzero(np.r_[np.diff(score) != 0, len(score) > 0]) if len(score) else np.array([], int)
    return Curve(score[last], hits[last] / (last + 1), hits[last] / count)
