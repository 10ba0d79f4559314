"""What a GPU adds to a measurement: waiting for it, times without waiting, and its memory."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ['is_gpu', 'one_size', 'peak_mib', 'stream_times', 'synchronize']

# Times in a row, each of as many runs as fill its share of the seconds.
_SAMPLES = 5


def is_gpu(device: str) -> bool:
    """Whether a device is a GPU.

    Args:
        device: Such as 'cpu' or 'cuda:0'.

    Returns:
        True for CUDA's devices.

    Example:
        >>> is_gpu('cpu'), is_gpu('cuda:0')
        (False, True)
    """
    return torch.device(device).type == 'cuda'


def synchronize(device: str) -> None:
    """Wait until a device has done what it was given; a CPU has, when a call returns.

    Args:
        device: Such as 'cpu' or 'cuda:0'.

    Example:
        >>> synchronize('cpu')
    """
    if is_gpu(device):
        torch.cuda.synchronize(device)


@contextmanager
def one_size() -> Iterator[None]:
    """Let cuDNN choose the algorithms of convolutions by trying them, since all inputs have one size.

    Example:
        >>> with one_size():
        ...     torch.backends.cudnn.benchmark
        True
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def stream_times(run: Callable[[], Any], device: str, seconds: float) -> list[float]:
    """Time runs in a row, between which nobody waits: what the throughput of a GPU is the inverse of.

    Args:
        run: One run, which is warm.
        device: A GPU, whose events are the clock, or 'cpu', where it is the time that passes.
        seconds: How long all of it should take.

    Returns:
        Milliseconds per run, five times.

    Example:
        >>> len(stream_times(lambda: torch.rand(8), 'cpu', 0.01))
        5
    """
    share = seconds / _SAMPLES
    # One run alone takes longer than one in a row, by its launch.
    few = max(1, int(share / 2 / _seconds(run, device, 1)))
    runs = max(1, math.ceil(share / _seconds(run, device, few)))
    return [1000 * _seconds(run, device, runs) for _ in range(_SAMPLES)]


def _seconds(run: Callable[[], Any], device: str, runs: int) -> float:
    """Of one run, in a row of so many."""
    if not is_gpu(device):
        start = time.perf_counter()
        for _ in range(runs):
            run()
        return (time.perf_counter() - start) / runs
    with torch.cuda.device(device):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(runs):
            run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000 / runs


def peak_mib(run: Callable[[], Any], device: str) -> float:
    """The most memory that a run holds on a GPU at a time, outputs included, beyond what was held before.

    Args:
        run: One run, whose outputs are released.
        device: A GPU.

    Returns:
        MiB.
    """
    synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    synchronize(device)
    return round((torch.cuda.max_memory_allocated(device) - before) / 2**20, 1)
