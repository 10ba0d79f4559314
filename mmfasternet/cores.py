"""How many cores this process may use, and how many of them other processes leave to it."""

import math
import os
import time
from pathlib import Path

__all__ = ['free_cores', 'usable_cores']

_QUOTA = Path('/sys/fs/cgroup/cpu.max')  # of a container: microseconds, and of how many
_TIMES = Path('/proc/stat')


def usable_cores() -> int:
    """How many cores this process may use, as far as the system says it.

    Returns:
        The cores of its affinity, and no more than a container's quota has; at least 1.

    Example:
        >>> usable_cores() >= 1
        True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or 'max'
        return cores


def free_cores(seconds: float = 0.5) -> int:
    """How many of the usable cores are idle now.

    Threads that share a core with other processes wait for each other in every layer.

    Args:
        seconds: For how long to look. Defaults to 0.5.

    Returns:
        Cores, at least 1; all usable ones where the system doesn't say it.

    Example:
        >>> 1 <= free_cores(0.1) <= usable_cores()
        True
    """
    before = _idle_times()
    time.sleep(seconds if before else 0)
    idle = 0.0
    for core, (rest, total) in _idle_times().items():
        if core in before and total > before[core][1]:
            idle += (rest - before[core][0]) / (total - before[core][1])
    return max(1, min(usable_cores(), round(idle))) if before else usable_cores()


def _idle_times() -> dict[int, tuple[int, int]]:
    """Core that this process may use → its idle time and all of its time; empty where the system doesn't say it."""
    try:
        lines = [line.split() for line in _TIMES.read_text().splitlines()]
        times = {int(words[0][3:]): [int(word) for word in words[1:9]] for words in lines if words[0][3:].isdecimal()}
        # Waiting for a disk is idle too.
        return {core: (times[core][3] + times[core][4], sum(times[core])) for core in os.sched_getaffinity(0)}
    except (AttributeError, IndexError, KeyError, OSError, ValueError):
        return {}
