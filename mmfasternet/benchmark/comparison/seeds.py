"""What the seeds of each backbone came to, and whether they tell the backbones apart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean

__all__ = ['Spread', 'by_backbone', 'spread', 'verdict', 'with_range']

# How many times the range of the seeds the backbones must span to be told apart.
_ENOUGH = 3


@dataclass(frozen=True)
class Spread:
    """Whether AP tells backbones apart."""

    across: float
    seeds: float
    overlapping: list[tuple[str, str]]

    @property
    def ratio(self) -> float:
        """How many times the range of the seeds the backbones span."""
        return self.across / self.seeds if self.seeds else float('inf')


def by_backbone(tested: Iterable[dict]) -> dict[str, list[dict]]:
    """Label → records of AP, the seeds of one backbone together."""
    seeds: dict[str, list[dict]] = {}
    for record in tested:
        seeds.setdefault(record['label'], []).append(record)
    return seeds


def spread(values: Mapping[str, Sequence[float]]) -> Spread | None:
    """The range of AP across backbones beside the range of the seeds; None with fewer than two of either."""
    if len(values) < 2 or max(map(len, values.values())) < 2:
        return None
    means = [mean(seeds) for seeds in values.values()]
    overlapping = [
        (one, other)
        for (one, a), (other, b) in combinations(values.items(), 2)
        if min(a) <= max(b) and min(b) <= max(a)
    ]
    return Spread(max(means) - min(means), max(max(seeds) - min(seeds) for seeds in values.values()), overlapping)


def verdict(values: Mapping[str, Sequence[float]], kind: str) -> str:
    """Whether the seeds tell the backbones apart, in words.

    Args:
        values: What a backbone is called → AP of each of its seeds in percent.
        kind: What the AP is of, 'box' or 'mask'.

    Returns:
        A paragraph.

    Example:
        >>> verdict({'A': [30.0], 'B': [40.0]}, 'box')
        'Box AP: one seed alone says nothing about the spread between seeds.'
    """
    result = spread(values)
    if result is None:
        return f'{kind.capitalize()} AP: one seed alone says nothing about the spread between seeds.'
    pairs = '; '.join(f'{one} and {other}' for one, other in result.overlapping)
    enough = 'at least' if result.ratio >= _ENOUGH else '**less than**'
    order = f'The seeds overlap, and the order stays open, for {pairs}.' if pairs else 'No two backbones overlap.'
    # One backbone that learns nothing would make any range wide.
    lowest = min(values, key=lambda label: mean(values[label]))
    rest = spread({label: seeds for label, seeds in values.items() if label != lowest})
    others = f' Without {lowest}, the lowest, it is {rest.ratio:.1f}.' if rest else ''
    if rest and rest.ratio < _ENOUGH <= result.ratio:
        others = (
            f' This is due to {lowest} alone: without it the ratio is {rest.ratio:.1f}, **less than {_ENOUGH}**, '
            'and not all of the others can be told apart.'
        )
    return (
        f'{kind.capitalize()} AP: the means of the backbones span {result.across:.1f} points, the seeds of one '
        f'backbone at most {result.seeds:.1f}. The ratio is {result.ratio:.1f}, {enough} the {_ENOUGH} that it takes '
        f'to tell all backbones apart.{others} {order}'
    )


def with_range(values: Sequence[float]) -> str:
    """The mean of seeds, with the lowest and the highest.

    Args:
        values: AP of each seed.

    Returns:
        The text for a table.

    Example:
        >>> with_range([50.0, 52.0]), with_range([50.0])
        ('51.0 (50.0 – 52.0)', '50.0')
    """
    return f'{mean(values):.1f}' + (f' ({min(values):.1f} – {max(values):.1f})' if len(values) > 1 else '')
