"""Latencies of models that take turns, and what the machine can do at most."""

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmfasternet.benchmark.engines.measure import peak_gflops

from .latency import Protocol, summarize, time_runs

__all__ = ['Contender', 'bandwidth_gb_s', 'keep_memory', 'peak_gmacs', 'time_in_turns']

# The time that one turn should take in seconds, and the most runs in it.
TURN, MOST_RUNS = 0.2, 20
# Elements of each tensor of the triad: 128 MiB, far more than a cache holds.
TRIAD = 2**25
# Of glibc's mallopt: what the two settings are called, and their defaults.
TRIM_THRESHOLD, MMAP_MAX = (-1, 128 * 1024), (-4, 65536)
# Channels, and height and width, of the 1×1 convolution that stands for a GPU's peak.
PEAK_CHANNELS, PEAK_SIZE = 4096, 64


@dataclass(frozen=True)
class Contender:
    """Something to time.

    Args:
        label: What tables and plots call it.
        model: What runs.
        input: What it takes.
        figures: What else its record says of it. Defaults to {}.
    """

    label: str
    model: Callable[[Tensor], Any]
    input: Tensor
    figures: dict[str, Any] = field(default_factory=dict)


def time_in_turns(contenders: dict[str, Contender], device: str, threads: int, rounds: int) -> dict[str, dict]:
    """Time models that are all in memory and take turns, each round beginning with another one.

    Args:
        contenders: Name → what to time.
        device: Where they are, such as 'cpu' or 'cuda:0'.
        threads: Threads that torch has on the CPU.
        rounds: Turns of each.

    Returns:
        Name → its figures and latencies: ``median_ms``, ``p90_ms`` and ``quartiles_ms`` over all runs, ``throughput``
        (inputs per second), ``flags`` and ``rounds``, as docs/records.md has them.

    Raises:
        UserError: If one does not fit into the GPU's memory.

    Example:
        >>> relu = Contender('ReLU', nn.ReLU(), torch.rand(2, 8, 16, 16))
        >>> time_in_turns(dict(relu=relu), 'cpu', threads=1, rounds=2)['relu']['median_ms'] > 0
        True
    """
    protocols = {name: protocol_of(contender, device, threads, rounds) for name, contender in contenders.items()}
    turns: dict[str, list[dict]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            contender = contenders[name]
            measured, _ = time_runs(contender.model, contender.input, protocols[name], contender.label)
            turns[name].append(measured)
    return {
        name: contender.figures | figures_of(protocols[name], turns[name]) for name, contender in contenders.items()
    }


@contextmanager
def keep_memory() -> Iterator[None]:
    """Let the allocator keep what is freed, so that operators are measured, and not the kernel that clears pages.

    glibc gives large maps back after each use, and the kernel clears their pages again when they are next asked for.
    Ten depthwise convolutions of 32 maps of 96 × 56² took 299 ms so on two cores, and 65 ms with memory kept. Does
    nothing with another C library. Afterwards the limits are glibc's first ones; it no longer adapts them by itself.

    Example:
        >>> with keep_memory():
        ...     torch.rand(2, 3).shape
        torch.Size([2, 3])
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        yield
        return
    mallopt(MMAP_MAX[0], 0)
    mallopt(TRIM_THRESHOLD[0], 2**31 - 1)
    try:
        yield
    finally:
        mallopt(*MMAP_MAX)
        mallopt(*TRIM_THRESHOLD)


def protocol_of(contender: Contender, device: str, threads: int, rounds: int) -> Protocol:
    """How a contender is timed: as many runs in a turn as its speed allows."""
    protocol = Protocol(device=device, threads=threads, batch=len(contender.input), rounds=rounds, warmup=1, runs=1)
    measured, _ = time_runs(contender.model, contender.input, protocol, contender.label)
    runs = min(MOST_RUNS, max(1, round(TURN / (measured['times_ms'][0] / 1000 + 1e-6))))
    # A run that fills a turn needs no other before it.
    return Protocol(
        device=device, threads=threads, batch=protocol.batch, rounds=rounds, warmup=int(runs > 1), runs=runs
    )


def figures_of(protocol: Protocol, turns: list[dict]) -> dict:
    record = dict(batch=protocol.batch, threads=protocol.threads, device=protocol.device, rounds=turns)
    # Building models keeps all cores busy.
    summarize(record, own_threads=os.cpu_count())
    return {key: record[key] for key in ('median_ms', 'p90_ms', 'quartiles_ms', 'throughput', 'flags', 'rounds')}


@torch.inference_mode()
def peak_gmacs(device: str) -> float:
    """G multiply-adds per second of the fastest product of large matrices.

    On the CPU it is MKL's or oneDNN's product of 2048 × 2048 matrices. On a GPU it is a 1×1 convolution of 4096
    channels, in the same precision as any other convolution: cuDNN may take TF32.

    Args:
        device: 'cpu' or a GPU.

    Returns:
        The peak.

    Example:
        >>> peak_gmacs('cpu') > 1
        True
    """
    if device == 'cpu':
        return peak_gflops() / 2
    conv = nn.Conv2d(PEAK_CHANNELS, PEAK_CHANNELS, 1, bias=False, device=device)
    x = torch.rand(1, PEAK_CHANNELS, PEAK_SIZE, PEAK_SIZE, device=device)
    return PEAK_SIZE**2 * PEAK_CHANNELS**2 / shortest(lambda: conv(x), device) / 1e9


@torch.inference_mode()
def bandwidth_gb_s(device: str) -> float:
    """GB per second of memory, by the triad of STREAM: c = a + s·b over tensors of 128 MiB.

    Two reads and a write of four bytes count for each element; that a CPU also reads what it will write over does not.

    Args:
        device: 'cpu' or a GPU.

    Returns:
        The bandwidth, 10⁹ bytes per second.

    Example:
        >>> bandwidth_gb_s('cpu') > 0.1
        True
    """
    a, b, c = (torch.rand(TRIAD, device=device) for _ in range(3))
    return 3 * 4 * TRIAD / shortest(lambda: torch.add(a, b, alpha=3.0, out=c), device) / 1e9


def shortest(function: Callable[[], Any], device: str, repeats: int = 4) -> float:
    """Seconds of the fastest of a few calls, after one to warm up."""
    times = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        function()
        if device.startswith('cuda'):
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])
