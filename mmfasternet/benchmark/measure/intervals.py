"""How sure a figure is: 95 % intervals by the bootstrap, of medians and of ratios of latencies taken in turns."""

from collections.abc import Sequence

import numpy as np

__all__ = ['RESAMPLES', 'interval', 'median_interval', 'ratio_interval']

#: Resamples of an interval.
RESAMPLES = 1000
# Its limits in percent.
_LIMITS = (2.5, 97.5)


def interval(resampled: Sequence[float] | np.ndarray) -> list[float]:
    """The 95 % interval of a figure.

    Args:
        resampled: The figure of each resample.

    Returns:
        Its lower and its upper limit.

    Example:
        >>> interval([1.0, 2.0, 3.0])
        [1.05, 2.95]
    """
    return [round(float(limit), 4) for limit in np.percentile(resampled, _LIMITS)]


def median_interval(rounds: Sequence[Sequence[float]]) -> list[float]:
    """The 95 % interval of the median of a latency.

    Rounds are drawn first, and then runs of each that was drawn: runs of a round resemble each other, so a hundred of
    them are less than a hundred measurements.

    Args:
        rounds: The times of each round.

    Returns:
        Its lower and its upper limit, in the unit of the times.

    Example:
        >>> median_interval([[10.0, 10.0], [10.0], [10.0, 10.0]])
        [10.0, 10.0]
    """
    generator = np.random.default_rng(0)
    return interval(_medians(rounds, _drawn_rounds(len(rounds), generator), generator))


def ratio_interval(rounds: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> list[float]:
    """The 95 % interval of a latency over that of a reference which was measured in the same rounds.

    Both are drawn from the same rounds, so what slowed a whole round down does not widen the interval.

    Args:
        rounds: The times of each round.
        reference: The same of the reference, as many rounds.

    Returns:
        Its lower and its upper limit.

    Example:
        >>> ratio_interval([[10.0], [20.0]], [[5.0], [10.0]])
        [2.0, 2.0]
    """
    generator = np.random.default_rng(0)
    drawn = _drawn_rounds(len(rounds), generator)
    return interval(_medians(rounds, drawn, generator) / _medians(reference, drawn, generator))


def _drawn_rounds(count: int, generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, count, (RESAMPLES, count))


def _medians(rounds: Sequence[Sequence[float]], drawn: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The median of each resample, which has equally many runs of each round that was drawn."""
    counts = np.array([len(times) for times in rounds])
    padded = np.zeros((len(rounds), counts.max()))
    for line, times in zip(padded, rounds, strict=True):
        line[: len(times)] = times
    runs = (generator.random((*drawn.shape, counts.max())) * counts[drawn][..., None]).astype(int)
    return np.median(padded[drawn[..., None], runs].reshape(len(drawn), -1), axis=1)
