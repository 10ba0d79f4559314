"""Checks of arguments: each mistake is one TypeError or ValueError that names the argument."""

import math
from numbers import Integral, Real

__all__ = ['as_integer', 'check_number']


def as_integer(name: str, value: int, lowest: int, highest: int | None = None) -> int:
    """The value as Python's int, which numpy's integers become too.

    Args:
        name: Name of the argument, for errors.
        value: What the user gave.
        lowest: Smallest value allowed.
        highest: Largest value allowed. None means any. Defaults to None.

    Returns:
        The integer.

    Raises:
        TypeError: If the value is not an integer.
        ValueError: If it is out of bounds.

    Example:
        >>> as_integer('channels', 40, 1)
        40
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f'{name} must be an int, but got {value!r}')
    if value < lowest or (highest is not None and value > highest):
        bounds = f'at least {lowest}' if highest is None else f'from {lowest} to {highest}'
        raise ValueError(f'{name} must be {bounds}, but got {value}')
    return int(value)


def check_number(name: str, value: float) -> None:
    """Make sure that a value is a finite number.

    Args:
        name: Name of the argument, for errors.
        value: What the user gave.

    Raises:
        TypeError: If the value is not a real number.
        ValueError: If it is not finite.

    Example:
        >>> check_number('partial_ratio', 1 / 4)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f'{name} must be a number, but got {value!r}')
    if not math.isfinite(value):
        raise ValueError(f'{name} must be finite, but got {value}')
