"""What a detector got right and wrong: every figure of the report, from the truth and what was found."""

from dataclasses import dataclass

import numpy as np

from .calibration import Bin, calibration_bins
from .confusion import confusion_matrix
from .detections import Detections, Found
from .error_kinds import costs, error_kinds, missed_objects
from .matches import Matches, match
from .precision import CocoAP, coco_ap
from .precision_recall import Curve, draw_curve
from .truth import Truth

__all__ = ['Result', 'compute_result']

# The threshold where no detection is right.
_USUAL = 0.3


@dataclass(frozen=True)
class Result:
    """A detector's result. Costs are AP50 that fixing a kind of error would give back; all else is of the boxes."""

    truth: Truth
    detections: Detections
    matches: Matches
    kinds: np.ndarray
    ap: CocoAP
    costs: dict[str, float]
    #: The same of the masks; None unless truth and detections have some.
    mask_ap: CocoAP | None
    mask_costs: dict[str, float] | None
    #: Precision against recall of all classes together, and of each class; None for a class without objects.
    curve: Curve
    curves: list[Curve | None]
    #: The score with the best F1 of all classes together; what follows counts the detections from it on.
    threshold: float
    #: Whether each detection counts, whether each object is missed, and what was taken for what.
    shown: np.ndarray
    missed: np.ndarray
    confusion: np.ndarray
    #: Of all detections.
    bins: list[Bin]

    @property
    def counts(self) -> np.ndarray:
        """Number of objects of each class."""
        return self.matches.counts[:, 0]


def compute_result(truth: Truth, found: Found) -> Result:
    """Compute all figures.

    Args:
        truth: The objects.
        found: What the detector has found.

    Returns:
        The figures.
    """
    matches = match(truth, found.boxes)
    kinds = error_kinds(matches)
    mask_ap = mask_costs = None
    if found.masks is not None and truth.masks is not None:
        of_masks = match(truth, found.masks, masks=True)
        mask_ap, mask_costs = coco_ap(of_masks), costs(of_masks, error_kinds(of_masks))
    counted, right = kinds >= 0, kinds == 0
    curve = draw_curve(matches.score[counted], right[counted], len(matches.object_number))
    threshold = min(_USUAL, matches.score.max()) if curve.best is None else curve.thresholds[curve.best]
    curves = []
    for label, count in enumerate(matches.counts[:, 0]):
        of_class = counted & (matches.label == label)
        curves.append(draw_curve(matches.score[of_class], right[of_class], count) if count else None)
    return Result(
        truth,
        found.boxes,
        matches,
        kinds,
        coco_ap(matches),
        costs(matches, kinds),
        mask_ap,
        mask_costs,
        curve,
        curves,
        float(threshold),
        counted & (matches.score >= threshold),
        missed_objects(matches, kinds, threshold),
        confusion_matrix(matches, kinds, threshold),
        calibration_bins(matches.score[counted], right[counted]),
    )
