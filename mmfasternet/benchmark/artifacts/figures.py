"""The figures of a detector on distinct images, from the times of its turns."""

import numpy as np

from mmfasternet.benchmark.measure.intervals import RESAMPLES, interval
from mmfasternet.benchmark.measure.turns import MAX_SPREAD, disturbances

__all__ = ['RUNS', 'summarize_images']

#: Runs of each image in a turn; how far they lie apart tells whether something disturbed them.
RUNS = 2


def summarize_images(turns: list[dict], busy_threads: int) -> dict:
    """Summarize the turns of a detector.

    Args:
        turns: What :func:`~mmfasternet.benchmark.measure.turns.take_turn` returned for ``RUNS`` passes over some
            images, each with ``parallel_s``, the seconds of one pass over the same images in parallel.
        busy_threads: Threads that this program itself keeps busy before and during the turns.

    Returns:
        ``median_ms``, ``p95_ms``, ``interval_ms``, ``throughput``, ``flags`` and ``rounds``, see docs/records.md.

    Example:
        >>> turn = dict(times_ms=[10.0, 20.0, 30.0, 10.0, 20.0, 30.0], parallel_s=0.03, load_average=0.5)
        >>> figures = summarize_images([turn | dict(clock_mhz=None)], 2)
        >>> figures['median_ms'], figures['throughput'], figures['flags']
        (20.0, 100.0, [])
    """
    # A line for each image.
    times = np.concatenate([np.reshape(turn['times_ms'], (RUNS, -1)).T for turn in turns])
    rates = [len(turn['times_ms']) / RUNS / turn['parallel_s'] for turn in turns]
    drawn = np.random.default_rng(0).integers(0, len(times), (RESAMPLES, len(times)))
    medians = np.median(times[drawn].reshape(RESAMPLES, -1), axis=1)
    apart = float(np.median((times.max(axis=1) - times.min(axis=1)) / times.min(axis=1)))
    flags = [f'two runs of an image lie {apart:.0%} apart: something disturbed it'] if apart > MAX_SPREAD else []
    return dict(
        median_ms=_rounded(np.median(times)),
        p95_ms=_rounded(np.percentile(times, 95)),
        interval_ms=interval(medians),
        throughput=_rounded(np.median(rates)),
        flags=flags + list(disturbances(turns, 'cpu', busy_threads)),
        rounds=turns,
    )


def _rounded(value: float) -> float:
    return round(float(value), 4)
