"""A training that is asked to end, by a scheduler or with Ctrl-C: noticed by all of its processes at one iteration."""

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable
from ctypes import c_bool
from datetime import timedelta
from functools import partial
from multiprocessing.sharedctypes import RawValue
from types import FrameType, TracebackType

import torch
from mmengine.dist import is_distributed
from torch import distributed
from torch.utils.data import DataLoader

__all__ = ['SIGNALS', 'StopRequest', 'end_workers', 'keep_workers']

_GRACE = 30  # seconds, as long as most schedulers wait before they kill
_SAME = 3  # seconds; torchrun hands on what a terminal or a scheduler has sent to its processes already

#: What asks a training to end: schedulers send the first two, Ctrl-C the third.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequest:
    """Notices the signals that ask a training to end, while its block runs.

    The first signal is only noticed; a second one of the same kind, three seconds later or more, ends the process at
    once. A signal that is ignored stays so.

    Processes may get it at different moments, or only one of them does. Each asks at the end of every iteration, and
    learns then what all of them knew at the end of the one before, so that nobody waits for it.

    Args:
        timeout: Seconds for which a process waits for the others. None means PyTorch's default. Defaults to None.

    Example:
        >>> with StopRequest() as request:
        ...     before = request.agreed()
        ...     signal.raise_signal(signal.SIGUSR1)
        ...     before, request.agreed() == signal.SIGUSR1
        (0, True)
    """

    def __init__(self, timeout: float | None = None) -> None:
        self._timeout = None if timeout is None else timedelta(seconds=timeout)
        self._signal = 0
        self._noticed: dict[int, float] = {}  # signal → when
        self._former: dict[int, object] = {}
        self._group: distributed.ProcessGroup | None = None
        self._pending: tuple[torch.Tensor, distributed.Work] | None = None

    def __enter__(self) -> 'StopRequest':
        # Python lets the main thread alone handle signals.
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self._former = {number: signal.signal(number, self._notice) for number in heard}
        if is_distributed() and self._group is None:
            # Its own, on CPUs, so that it never waits behind the gradients, nor they behind it.
            self._group = distributed.new_group(backend='gloo', timeout=self._timeout)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def agreed(self) -> int:
        """The signal that ends the training now, in every process alike; 0 if there is none."""
        if self._group is None:
            return self._signal
        agreed = 0
        if self._pending is not None:
            number, work = self._pending
            work.wait()
            agreed = int(number)
        number = torch.tensor(self._signal)
        self._pending = (
            number,
            distributed.all_reduce(number, distributed.ReduceOp.MAX, group=self._group, async_op=True),
        )
        return agreed

    def rounds(self, iterations: int) -> int:
        """How many times all processes may ask, if this one has so many iterations; the others may have fewer."""
        if self._group is None:
            return iterations
        number = torch.tensor(iterations)
        distributed.all_reduce(number, distributed.ReduceOp.MIN, group=self._group)
        return int(number)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        if number in self._noticed:
            if time.monotonic() - self._noticed[number] >= _SAME:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        self._noticed[number] = time.monotonic()
        # Not by print, which may be what the signal has interrupted.
        name = signal.Signals(number).name
        message = f'{name}: saving after this iteration; another {name}, {_SAME} seconds later, ends it at once\n'
        os.write(2, message.encode())


def keep_workers(dataloader: DataLoader) -> None:
    """Make the workers of a data loader outlive what asks a training to end, see :data:`SIGNALS`, by half a minute.

    Schedulers and terminals send it to all processes of a job, and without its workers a training can't finish the
    iteration that it saves.

    Args:
        dataloader: The data loader, before its workers are started.
    """
    leaving = RawValue(c_bool, False)
    # Python ends workers by SIGTERM too, at the very end.
    atexit.register(setattr, leaving, 'value', True)
    dataloader.worker_init_fn = partial(_init_worker, dataloader.worker_init_fn, leaving)


def end_workers(dataloader: DataLoader) -> None:
    """End the workers that a data loader keeps from one epoch to the next; another epoch starts new ones.

    Python's garbage collector closes the queues to them first, and torch then waits for each of them in vain.

    Args:
        dataloader: The data loader.
    """
    iterator, dataloader._iterator = dataloader._iterator, None
    if iterator is not None:
        iterator._shutdown_workers()


def _init_worker(init: Callable[[int], None] | None, leaving: c_bool, worker_id: int) -> None:
    """What a data worker does first."""

    def end(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGALRM or leaving.value:
            os._exit(0)  # torch takes any other status for a failure
        signal.alarm(_GRACE)

    for number in (*SIGNALS, signal.SIGALRM):
        signal.signal(number, end)
    if init is not None:
        init(worker_id)
