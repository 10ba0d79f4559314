"""Which classes a detector takes for which."""

import numpy as np

from .error_kinds import KINDS
from .matches import Matches

__all__ = ['confusion_matrix', 'frequent_confusions']


def confusion_matrix(matches: Matches, kinds: np.ndarray, threshold: float) -> np.ndarray:
    """Count which class was found where which class is.

    Each object counts once: as found, as taken for another class if the best detection on it is of that class, or as
    not found. Each detection counts once; one that is on no object, or on one that counts already, is on background.

    Args:
        matches: Detections and objects.
        kinds: From :func:`~mmfasternet.reports.result.error_kinds.error_kinds`.
        threshold: Lowest score of the detections that count.

    Returns:
        Numbers, int64 (classes + 1, classes + 1): a row for each true class, a column for each predicted one; the last
        ones are background, that is, found where nothing is, and not found.
    """
    background = len(matches.counts)
    matrix = np.zeros((background + 1, background + 1), int)
    counted = (matches.score >= threshold) & (kinds >= 0)
    right = counted & (matches.found >= 0)
    np.add.at(matrix, (matches.label[right], matches.label[right]), 1)
    taken = np.isin(matches.object_number, matches.found[right])

    wrong = np.flatnonzero(counted & (kinds == [*KINDS].index('classification')))
    place = np.searchsorted(matches.object_number, matches.other[wrong])
    wrong, place = wrong[~taken[place]], place[~taken[place]]
    best = np.argsort(-matches.score[wrong], kind='stable')
    place, first = np.unique(place[best], return_index=True)
    wrong = wrong[best][first]
    np.add.at(matrix, (matches.object_label[place], matches.label[wrong]), 1)
    taken[place] = True

    np.add.at(matrix, (matches.object_label[~taken], background), 1)
    on_nothing = counted & (matches.found < 0)
    on_nothing[wrong] = False
    np.add.at(matrix, (background, matches.label[on_nothing]), 1)
    return matrix


def frequent_confusions(matrix: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """The pairs of different classes that are confused most often.

    Args:
        matrix: Of each true class, how often it was taken for each class, int (classes, classes).
        most: Length of the list at most.

    Returns:
        True class, predicted class, and how often; the most frequent first.

    Example:
        >>> frequent_confusions(np.array([[5, 2], [1, 5]]), 10)
        [(0, 1, 2), (1, 0, 1)]
    """
    between = matrix * (1 - np.eye(len(matrix), dtype=int))
    places = np.argsort(-between, axis=None, kind='stable')[:most]
    pairs = [(int(row), int(column)) for row, column in zip(*np.unravel_index(places, between.shape), strict=True)]
    return [(row, column, int(between[row, column])) for row, column in pairs if between[row, column]]
