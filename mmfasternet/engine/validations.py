"""The validations of a training, kept in its work dir: which of them have ended, and what they gave."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from mmfasternet.files import write_json

__all__ = [
    'MAIN_METRICS',
    'VALIDATIONS',
    'Validation',
    'finite_metrics',
    'main_metrics',
    'read_validations',
    'write_validations',
]

#: The file in a work dir.
VALIDATIONS = 'validations.json'

#: Name of a metric → its name in the evaluator, and the evaluator's value for a perfect result.
MAIN_METRICS = {
    'box AP': ('coco/bbox_mAP', 1),
    'mask AP': ('coco/segm_mAP', 1),
    'mIoU': ('mIoU', 100),
    'top-1': ('accuracy/top1', 100),
}

_LARGEST = 2**24  # bytes of a file that is read


class Validation(NamedTuple):
    """A validation that has ended.

    Attributes:
        iteration: Iterations of training before it.
        epoch: Epochs of training before it.
        metrics: Name in the evaluator → value.
    """

    iteration: int
    epoch: int
    metrics: dict[str, float]

    @property
    def place(self) -> str:
        """Where it is in the training, in words; a training that counts iterations has no epochs."""
        return f'epoch {self.epoch}, iteration {self.iteration}' if self.epoch else f'iteration {self.iteration}'


def main_metrics(metrics: dict[str, float]) -> dict[str, float]:
    """The metrics that a reader looks at first.

    Args:
        metrics: What an evaluator gave.

    Returns:
        Name → value from 0 to 1.

    Example:
        >>> main_metrics({'coco/bbox_mAP': 0.4, 'coco/bbox_mAP_50': 0.6}), main_metrics({'mIoU': 81.5})
        ({'box AP': 0.4}, {'mIoU': 0.815})
    """
    return {name: metrics[key] / perfect for name, (key, perfect) in MAIN_METRICS.items() if key in metrics}


def read_validations(work_dir: str | Path) -> list[Validation]:
    """The validations that a work dir tells of.

    Args:
        work_dir: The work dir.

    Returns:
        They in their order; none if there is no such file, or it is damaged.

    Example:
        >>> read_validations('work_dirs/never_run')
        []
    """
    path = Path(work_dir, VALIDATIONS)
    try:
        if path.stat().st_size > _LARGEST:
            return []
        found = [Validation(*entry) for entry in json.loads(path.read_text())]
        return found if all(map(_is_valid, found)) else []
    except (OSError, RecursionError, TypeError, ValueError):
        return []


def write_validations(work_dir: str | Path, validations: list[Validation]) -> None:
    """Write them for :func:`read_validations`.

    Args:
        work_dir: The work dir.
        validations: All of the training so far.

    Raises:
        UserError: If the file can't be written.

    Example:
        >>> write_validations('run', [Validation(10, 1, {'mIoU': 81.5})])
        >>> read_validations('run')
        [Validation(iteration=10, epoch=1, metrics={'mIoU': 81.5})]
    """
    write_json(Path(work_dir, VALIDATIONS), validations)


def finite_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics that are numbers.

    Args:
        metrics: What an evaluator gave.

    Returns:
        Name → value, without those that are not finite.

    Example:
        >>> finite_metrics(dict(mIoU=81.5, IoU=float('nan'), text='0.1 0.2'))
        {'mIoU': 81.5}
    """
    numbers = {key: float(value) for key, value in metrics.items() if isinstance(value, (int, float))}
    return {key: value for key, value in numbers.items() if math.isfinite(value)}


def _is_valid(entry: Validation) -> bool:
    return (
        type(entry.iteration) is int
        and type(entry.epoch) is int
        and isinstance(entry.metrics, dict)
        and all(type(value) is float for value in entry.metrics.values())
    )
