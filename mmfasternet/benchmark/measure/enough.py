"""When latencies have been taken often enough: round by round, until each ratio to the reference is certain."""

import statistics
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol as Interface

from .intervals import ratio_interval

__all__ = ['Enough', 'Series', 'ratio_to', 'take_enough']


@dataclass(frozen=True)
class Enough:
    """When to stop.

    Args:
        runs: Runs of a model in its first rounds together, unless they take longer than ``seconds``. Defaults to 100.
        seconds: Seconds of runs in the first rounds together, after which no more runs follow. Defaults to 10.
        width: Width of the 95 % interval of a ratio to the reference, as a share of the ratio, below which it is
            certain. Defaults to 0.03.
        budget_s: Seconds after which no further round begins, once every model has had its first rounds. Defaults to
            2400.
        retakes: How often a flagged latency is taken again. Defaults to 3.
    """

    runs: int = 100
    seconds: float = 10
    width: float = 0.03
    budget_s: float = 2400
    retakes: int = 3


class Series(Interface):
    """The rounds of several models, which :func:`take_enough` extends."""

    def rounds(self, key: Hashable) -> list[list[float]]:
        """The times of each round of a model."""

    def is_flagged(self, key: Hashable) -> bool:
        """Whether something disturbed the latency of a model."""

    def take(self, keys: Sequence[Hashable]) -> None:
        """Take one more round of these models, in turns."""

    def restart(self, keys: Sequence[Hashable]) -> None:
        """Forget the rounds of these models."""


def take_enough(
    references: dict[Hashable, Hashable],
    series: Series,
    least_rounds: int,
    enough: Enough | None,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Take rounds until there are enough.

    Every model first has its least number of rounds. While there is time, those whose ratio is not certain then have
    further rounds, each together with the reference, and the flagged ones are taken again.

    Args:
        references: Each model → the model that it is compared with.
        series: Where the rounds are, and go.
        least_rounds: Rounds of every model, at least.
        enough: When to stop. None means after the least number of rounds.
        now: Seconds that pass. Defaults to the machine's clock.
    """
    keys, begun = list(references), now()

    def has_time() -> bool:
        return enough is not None and now() - begun < enough.budget_s

    def fill() -> None:
        while lacking := [key for key in keys if len(series.rounds(key)) < least_rounds]:
            series.take(lacking)

    def sharpen() -> None:
        while has_time():
            wide = {key for key in keys if _width(series.rounds(key), series.rounds(references[key])) > enough.width}
            wanted = wide | {references[key] for key in wide}
            if not wanted:
                return
            series.take([key for key in keys if key in wanted])

    fill()
    sharpen()
    for _ in range(enough.retakes if enough else 0):
        flagged = [key for key in keys if series.is_flagged(key)]
        if not flagged or not has_time():
            return
        series.restart(flagged)
        fill()
        sharpen()


def ratio_to(rounds: list[list[float]], reference: list[list[float]]) -> tuple[float, list[float]]:
    """A latency over that of the reference, of the rounds that both have.

    Args:
        rounds: The times of each round.
        reference: The same of the reference.

    Returns:
        The ratio of the medians, and its 95 % interval.

    Example:
        >>> ratio_to([[10.0, 10.0]], [[5.0], [20.0]])
        (2.0, [2.0, 2.0])
    """
    # The reference itself, whose runs would else be drawn twice.
    if rounds == reference:
        return 1.0, [1.0, 1.0]
    common = min(len(rounds), len(reference))
    mine, theirs = rounds[:common], reference[:common]
    medians = [statistics.median(value for times in one for value in times) for one in (mine, theirs)]
    return round(medians[0] / medians[1], 4), ratio_interval(mine, theirs)


def _width(rounds: list[list[float]], reference: list[list[float]]) -> float:
    ratio, (low, high) = ratio_to(rounds, reference)
    return (high - low) / ratio
