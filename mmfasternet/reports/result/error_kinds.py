"""Errors by kind, as TIDE (Bolya et al., ECCV 2020) has them, and the AP50 that each kind costs.

The rules are those of its package tidecv, which is not used, since it reads no file of boxes alone, and was last
released in 2020. One differs: a class of which all objects are missed has an AP of 1 once these are fixed; there, 0.
"""

import numpy as np

from .matches import FOUND, Matches
from .precision import mean_precision

__all__ = ['KINDS', 'costs', 'error_kinds', 'missed_objects']

#: What is wrong with a detection, and in one line what that means. The number of a kind is its place.
KINDS = {
    'right': 'finds an object of its class, IoU at least 0.5',
    'classification': 'lies on an object of another class, IoU at least 0.5',
    'localization': 'lies beside an object of its class, IoU between 0.1 and 0.5',
    'both': 'lies beside an object of another class, IoU between 0.1 and 0.5',
    'duplicate': 'lies on an object that another detection with a higher score has found',
    'background': 'lies on no object, IoU at most 0.1',
}
_RIGHT, _CLASS, _PLACE, _BOTH, _DOUBLE, _GROUND = range(len(KINDS))

# A detection whose IoU with all objects is at most this lies on none.
_BACKGROUND = 0.1


def error_kinds(matches: Matches) -> np.ndarray:
    """What is wrong with each detection.

    Args:
        matches: Detections and objects.

    Returns:
        For each detection, the place of its kind in ``KINDS``; -1 if it does not count, as it lies in a crowd.
    """
    own, other = matches.own_iou, matches.other_iou
    return np.select(
        [
            matches.right[:, 0, 0] < 0,
            matches.found >= 0,
            (own >= _BACKGROUND) & (own < FOUND),
            other >= FOUND,
            own >= FOUND,
            np.maximum(own, other) <= _BACKGROUND,
        ],
        [-1, _RIGHT, _PLACE, _CLASS, _DOUBLE, _GROUND],
        _BOTH,
    )


def missed_objects(matches: Matches, kinds: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """The objects that no detection has found, and that none would find if its class or its place was right.

    Args:
        matches: Detections and objects.
        kinds: From :func:`error_kinds`.
        threshold: Lowest score of the detections that count. Defaults to 0, all.

    Returns:
        For each object, whether it is missed.
    """
    counted = matches.score >= threshold
    aims = np.select(
        [kinds == _RIGHT, kinds == _PLACE, kinds == _CLASS], [matches.found, matches.own, matches.other], -1
    )
    return ~np.isin(matches.object_number, aims[counted])


def costs(matches: Matches, kinds: np.ndarray) -> dict[str, float]:
    """The AP50 that fixing one kind of errors would give back, the others left as they are.

    Of the detections with a wrong class or place, the one of the highest score on each object that is not found is put
    right, and the rest is removed; duplicates and detections of background are removed; missed objects are not counted.
    The costs of all kinds don't add up to what the AP lacks.

    Args:
        matches: Detections and objects.
        kinds: From :func:`error_kinds`.

    Returns:
        Kind of :data:`KINDS` without 'right', and 'missed' → AP between 0 and 1.
    """
    right, counts = kinds == _RIGHT, matches.counts[:, 0]
    counted = kinds >= 0
    before = mean_precision(matches.label[counted], matches.score[counted], right[counted], counts)
    after = {}
    for number, kind in enumerate(KINDS):
        if number == _RIGHT:
            continue
        label, fixed, kept = matches.label, right, counted & (kinds != number)
        if number in (_CLASS, _PLACE):
            aims = matches.own if number == _PLACE else matches.other
            put_right = _best_of_unfound(matches, np.flatnonzero(kinds == number), aims)
            label = label.copy()
            label[put_right] = _label_of(matches, aims[put_right])
            fixed, kept = (flags | np.isin(np.arange(len(kept)), put_right) for flags in (right, kept))
        after[kind] = mean_precision(label[kept], matches.score[kept], fixed[kept], counts)
    missed = np.bincount(matches.object_label[missed_objects(matches, kinds)], minlength=len(counts))
    after['missed'] = _without_missed(matches, kinds, counts, counts - missed)
    return {kind: max(0.0, ap - before) for kind, ap in after.items()}


def _best_of_unfound(matches: Matches, candidates: np.ndarray, aims: np.ndarray) -> np.ndarray:
    """Of some detections, the first with the highest score for each object that they aim at and none has found."""
    candidates = candidates[~np.isin(aims[candidates], matches.found)]
    candidates = candidates[np.argsort(-matches.score[candidates], kind='stable')]
    return candidates[np.unique(aims[candidates], return_index=True)[1]]


def _label_of(matches: Matches, objects: np.ndarray) -> np.ndarray:
    return matches.object_label[np.searchsorted(matches.object_number, objects)]


def _without_missed(matches: Matches, kinds: np.ndarray, counts: np.ndarray, left: np.ndarray) -> float:
    """AP if only so many objects of each class counted; it is 1 where none of them is left."""
    counted = kinds >= 0
    rest = mean_precision(matches.label[counted], matches.score[counted], kinds[counted] == _RIGHT, left)
    present, all_missed = (left > 0).sum(), ((counts > 0) & (left == 0)).sum()
    return float((np.nan_to_num(rest) * present + all_missed) / (present + all_missed))
