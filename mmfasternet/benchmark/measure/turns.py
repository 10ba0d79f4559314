"""The clock: models take turns, every run is synchronized and its time kept, and the times are summarized."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mmfasternet.benchmark.records.gpu import DISTURBING, gpu_state
from mmfasternet.errors import UserError

from .gpu import is_gpu, peak_mib, stream_times, synchronize
from .intervals import median_interval
from .precision import exact_fp32

__all__ = [
    'MAX_SPREAD',
    'TIE',
    'Clock',
    'Contender',
    'disturbances',
    'is_tie',
    'one_message',
    'progress_bar',
    'rotate',
    'summarize',
    'take_turn',
    'time_in_turns',
    'timed_runs',
    'use_threads',
    'with_gpu_figures',
]

_Key = TypeVar('_Key')

#: Share of the median by which the quartiles may differ, and share of its highest value by which the clock may fall.
MAX_SPREAD = 0.1
# Load by other programs, in threads, that is not flagged.
_MAX_FOREIGN_LOAD = 0.5
# Load by other programs, in threads for each core, that leaves none to launch a GPU's work; more is flagged.
_MAX_LOAD_PER_CORE = 1.0
# Times of a turn that are kept, at most: evenly spaced ones, so that files of records stay small.
_MOST_KEPT = 100
# Medians that lie no further apart, as a share of the larger, are a tie.
TIE = 0.05


@dataclass(frozen=True)
class Clock:
    """How long a turn lasts: a time, and at least a number of runs.

    Args:
        device: Where the models run, such as 'cpu' or 'cuda:0'. Defaults to 'cpu'.
        warmup_s: Seconds of runs that are not counted, at least one run. Defaults to 0.15.
        turn_s: Seconds of runs that are. Defaults to 0.2.
        least_runs: Counted runs in a turn, at least. Defaults to 2.
        wanted_runs: Counted runs in a turn that are wanted unless they take longer than ``longest_s``. Defaults to 0.
        longest_s: Seconds after which no more of the wanted runs follow. Defaults to 0.
    """

    device: str = 'cpu'
    warmup_s: float = 0.15
    turn_s: float = 0.2
    least_runs: int = 2
    wanted_runs: int = 0
    longest_s: float = 0.0


@dataclass(frozen=True)
class Contender:
    """Something to time.

    Args:
        label: What tables, plots and errors call it.
        run: Called for one run; a turn returns what its last run returned.
        batch: Images, or whatever its throughput counts, in a run. Defaults to 1.
        context: Makes the context of a turn. Defaults to ``torch.inference_mode``.
        figures: More fields of its record. Defaults to {}.
    """

    label: str
    run: Callable[[], Any]
    batch: int = 1
    context: Callable[[], AbstractContextManager] = torch.inference_mode
    figures: dict[str, Any] = field(default_factory=dict)


def rotate(items: Sequence[_Key], rounds: int) -> Iterator[tuple[int, _Key]]:
    """The order of turns: in each round all items, the first of which changes, so that none always follows the same."""
    for number in range(rounds):
        first = number % len(items)
        for item in (*items[first:], *items[:first]):
            yield number, item


def take_turn(contender: Contender, clock: Clock) -> tuple[dict, Any]:
    """Warm up, then time runs, each of them waited for, with float32 in float32; on a GPU also runs in a row.

    Args:
        contender: What to time.
        clock: How long, and on which device.

    Returns:
        A round of its record, see docs/records.md, and what the last run returned.

    Raises:
        UserError: If it does not fit into the device's memory, or the device can't run it in this precision.
    """
    turn = dict(
        load_average=round(os.getloadavg()[0], 2),
        clock_mhz=_clock_mhz(),
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
    )
    with one_message(contender.label, clock.device), exact_fp32(), contender.context():
        timed_runs(contender.run, clock.device, clock.warmup_s, 1)
        times, output = timed_runs(
            contender.run, clock.device, clock.turn_s, clock.least_runs, clock.wanted_runs, clock.longest_s
        )
        turn['times_ms'] = _kept([round(1000 * seconds, 4) for seconds in times])
        if is_gpu(clock.device):
            turn['stream_ms'] = [round(value, 5) for value in stream_times(contender.run, clock.device, clock.turn_s)]
            # While it is warm: an idle GPU lowers its clock.
            turn = turn | dict(clock_mhz=None) | gpu_state(clock.device)
    return turn, output


def _kept(times: list[float]) -> list[float]:
    """All times, or as many as are kept, evenly spaced over the turn."""
    return times if len(times) <= _MOST_KEPT else [times[i * len(times) // _MOST_KEPT] for i in range(_MOST_KEPT)]


@contextmanager
def one_message(label: str, device: str) -> Iterator[None]:
    """Turn torch's errors for what does not fit or does not exist on a device into one message.

    Args:
        label: What runs.
        device: Where.

    Raises:
        UserError: If it does not fit into the device's memory, or the device can't run it in this precision.

    Example:
        >>> with one_message('ReLU', 'cpu'):
        ...     pass
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(f'{label} does not fit into the memory of {device}; use a smaller batch or image') from error
    except RuntimeError as error:
        if 'not implemented for' in str(error):
            raise UserError(f'{label} cannot run in this precision on {device}: {error}') from error
        raise


def with_gpu_figures(contender: Contender, device: str, backend: str) -> Contender:
    """Add what a GPU's record has beside the latency: the memory that a run takes, and how cuDNN chose its algorithms.

    Args:
        contender: What will be timed, on images of one size.
        device: Where. On the CPU nothing is added.
        backend: What runs it; the memory is that of 'eager', since graphs hold theirs all the time.

    Returns:
        The contender with more figures.

    Raises:
        UserError: If a run does not fit into the device's memory.

    Example:
        >>> with_gpu_figures(Contender('ReLU', lambda: torch.rand(8).relu()), 'cpu', 'eager').figures
        {}
    """
    if not is_gpu(device):
        return contender
    figures = contender.figures | dict(cudnn_benchmark=True)
    if backend == 'eager':
        with one_message(contender.label, device), contender.context():
            figures['peak_mib'] = peak_mib(contender.run, device)
    return replace(contender, figures=figures)


def time_in_turns(
    contenders: Mapping[_Key, Contender],
    clock: Clock,
    rounds: int,
    threads: int,
    after_round: Callable[[], Any] | None = None,
) -> dict[_Key, dict]:
    """Time contenders that are all in memory, in turns.

    Args:
        contenders: Key → what to time.
        clock: How long a turn lasts.
        rounds: Turns of each.
        threads: Threads of torch on the CPU.
        after_round: Called at the end of each round. Defaults to None.

    Returns:
        Key → the contender's own figures and those of :func:`summarize`.

    Raises:
        UserError: If one does not fit into the device's memory, or the device can't run it in this precision.

    Example:
        >>> relu = Contender('ReLU', lambda: torch.rand(2, 8, 16, 16).relu(), batch=2)
        >>> time_in_turns(dict(relu=relu), Clock(turn_s=0.01), rounds=2, threads=1)['relu']['median_ms'] > 0
        True
    """
    turns: dict[_Key, list[dict]] = {key: [] for key in contenders}
    with use_threads(threads):
        for place, (_, key) in enumerate(rotate(list(contenders), rounds), start=1):
            turns[key].append(take_turn(contenders[key], clock)[0])
            if after_round and place % len(contenders) == 0:
                after_round()
    # Building models keeps all cores busy, which is in the load average for a minute.
    return {
        key: contender.figures | summarize(turns[key], clock.device, contender.batch, os.cpu_count())
        for key, contender in contenders.items()
    }


def summarize(rounds: list[dict], device: str, batch: int, busy_threads: int) -> dict:
    """Summarize all rounds of a measurement.

    Args:
        rounds: What :func:`take_turn` returned.
        device: Where they ran.
        batch: Images in a run.
        busy_threads: Threads that this program itself keeps busy before and during the rounds.

    Returns:
        ``median_ms``, ``p90_ms``, ``quartiles_ms``, ``interval_ms``, ``throughput``, ``flags`` and ``rounds``, on a
        GPU also ``stream_ms``, see docs/records.md.

    Example:
        >>> turn = dict(times_ms=[1.0, 2.0, 3.0], load_average=0.5, clock_mhz=None)
        >>> summarize([turn], 'cpu', 1, 2)['median_ms']
        2.0
    """
    times = np.concatenate([turn['times_ms'] for turn in rounds])
    low, median, high, p90 = (round(float(value), 4) for value in np.percentile(times, (25, 50, 75, 90)))
    flags = []
    if high - low > MAX_SPREAD * median:
        flags.append(f'the quartiles lie {(high - low) / median:.0%} of the median apart: something disturbed it')
    flags += disturbances(rounds, device, busy_threads)
    in_a_row = [value for turn in rounds for value in turn.get('stream_ms', [])]
    stream = dict(stream_ms=round(float(np.median(in_a_row)), 5)) if in_a_row else {}
    return dict(
        median_ms=median,
        p90_ms=p90,
        quartiles_ms=[low, high],
        interval_ms=median_interval([turn['times_ms'] for turn in rounds]),
        **stream,
        # Launching the next run while one is under way is what throughput is about.
        throughput=round(1000 * batch / stream.get('stream_ms', median), 4),
        flags=flags,
        rounds=rounds,
    )


def disturbances(rounds: list[dict], device: str, busy_threads: int) -> Iterator[str]:
    """What else the machine did, as far as it shows in its load and in the clock.

    Args:
        rounds: What :func:`take_turn` returned.
        device: Where they ran.
        busy_threads: Threads that this program itself keeps busy before and during the rounds.

    Yields:
        Reasons to measure again.

    Example:
        >>> list(disturbances([dict(load_average=3.0, clock_mhz=None)], 'cpu', busy_threads=2))
        ['the load average was 1.0 above the threads in use: something else ran']
    """
    load = max(turn['load_average'] for turn in rounds)
    if is_gpu(device):
        if load > _MAX_LOAD_PER_CORE * (os.cpu_count() or 1):
            yield f'the load average was {load:.1f}, more than the cores: launching the work of the GPU was held up'
    elif load - busy_threads > _MAX_FOREIGN_LOAD:
        yield f'the load average was {load - busy_threads:.1f} above the threads in use: something else ran'
    clocks = [turn['clock_mhz'] for turn in rounds if turn['clock_mhz']]
    if clocks and min(clocks) < (1 - MAX_SPREAD) * max(clocks):
        yield f'the clock went from {max(clocks):.0f} down to {min(clocks):.0f} MHz'
    held_back = {reason for turn in rounds for reason in turn.get('throttled', [])} & DISTURBING
    if held_back:
        yield f"the GPU's clock was held back: {', '.join(sorted(held_back))}"


def is_tie(figures: dict, others: dict) -> bool:
    """Whether two latencies leave open which is the shorter: medians within 5 %, or intervals that overlap.

    Args:
        figures: With ``median_ms``, and ``interval_ms`` or, where older records have none, ``quartiles_ms``, see
            docs/records.md.
        others: The same.

    Returns:
        Whether neither is called faster.

    Example:
        >>> is_tie(dict(median_ms=1.0, quartiles_ms=[0.9, 1.1]), dict(median_ms=2.0, quartiles_ms=[1.8, 2.2]))
        False
    """
    spread = 'interval_ms' if figures.get('interval_ms') and others.get('interval_ms') else 'quartiles_ms'
    (low, high), (other_low, other_high) = figures[spread], others[spread]
    medians = figures['median_ms'], others['median_ms']
    return max(medians) - min(medians) <= TIE * max(medians) or (low <= other_high and other_low <= high)


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Let torch use this many threads on the CPU, and afterwards as many as before.

    Args:
        count: Number of threads.

    Example:
        >>> with use_threads(1):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def progress_bar() -> Progress:
    """A progress bar on standard error, with the number of finished parts and the time left.

    Returns:
        rich's progress bar, a context manager.
    """
    columns = TextColumn('{task.description}', markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, TextColumn('left:'), TimeRemainingColumn(), console=Console(stderr=True))


def timed_runs(
    run: Callable[[], Any], device: str, seconds: float, least: int, wanted: int = 0, longest: float = 0.0
) -> tuple[list[float], Any]:
    """Time runs, each of them waited for, for as long as asked, and at least a number of them.

    Args:
        run: One run.
        device: Where it runs.
        seconds: How long in all.
        least: Number of runs, at least.
        wanted: Number of runs that are wanted, as long as they take less than ``longest``. Defaults to 0.
        longest: Seconds. Defaults to 0.

    Returns:
        Seconds of each run, and what the last one returned.

    Example:
        >>> len(timed_runs(lambda: None, 'cpu', 0, 3)[0])
        3
    """
    times: list[float] = []
    total = 0.0
    synchronize(device)
    while len(times) < least or total < seconds or (len(times) < wanted and total < longest):
        start = time.perf_counter()
        output = run()
        synchronize(device)
        times.append(time.perf_counter() - start)
        total += times[-1]
    return times, output


def _clock_mhz() -> float | None:
    """The mean clock of the CPU's cores; None where the machine doesn't say."""
    try:
        text = Path('/proc/cpuinfo').read_text()
    except OSError:
        return None
    clocks = [float(value) for value in re.findall(r'^cpu MHz\s*: ([\d.]+)', text, re.MULTILINE)]
    return round(sum(clocks) / len(clocks)) if clocks else None
