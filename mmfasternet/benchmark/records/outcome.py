"""The outcome of a command that trains: its metrics, and how long its steps took."""

from collections.abc import Mapping
from pathlib import Path

from .machine import describe_machine
from .records import Records

__all__ = ['save_outcome']


def save_outcome(
    path: str | Path, row: str, label: str, metrics: Mapping[str, float], seconds: Mapping[str, float]
) -> Path:
    """Write metrics, and how many seconds each step took, as a file of records.

    Args:
        path: The JSON.
        row: What was trained.
        label: What tables call it.
        metrics: Name → value from 0 to 1.
        seconds: Step → how long it took.

    Returns:
        The path.

    Raises:
        UserError: If it can't be written.

    Example:
        >>> save_outcome('outcome.json', 'tiny', 'Tiny', {'box AP': 0.7}, dict(train=12.34)).name
        'outcome.json'
        >>> Records.read('outcome.json').find('demo', 'tiny')['figures']
        {'box_ap': 0.7, 'train_s': 12.3}
    """
    figures = {name.lower().replace(' ', '_'): round(value, 4) for name, value in metrics.items()}
    figures |= {f'{name}_s': round(value, 1) for name, value in seconds.items()}
    Records(describe_machine(), Path(path)).add(dict(kind='demo', row=row, label=label, figures=figures))
    return Path(path)
