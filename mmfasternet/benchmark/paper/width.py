"""The width at which one network costs as much as another."""

from bisect import bisect_left
from collections.abc import Callable
from functools import cache

__all__ = ['width_for']


def width_for(flops: int, flops_of: Callable[[int], int], step: int = 1) -> int:
    """The multiple of a step whose multiply-adds, which grow with the width, are nearest to a number."""
    # Building and counting a network takes its time, and the search comes back to some widths.
    flops_of = cache(flops_of)
    highest = step
    while flops_of(highest) < flops:
        highest *= 2
    widths = range(step, highest + step, step)
    above = bisect_left(widths, flops, key=flops_of)
    return min(widths[max(0, above - 1) : above + 1], key=lambda width: abs(flops_of(width) - flops))
