"""Which parameters of a test take long: those with a FasterNet-M or L."""

from collections.abc import Iterable

import pytest


def large_ones_slow(names: Iterable[str]) -> list:
    """Names of variants or configs; those of M and L are marked as slow."""
    return [
        pytest.param(name, marks=pytest.mark.slow) if name.endswith(('m', 'l')) else pytest.param(name)
        for name in names
    ]
