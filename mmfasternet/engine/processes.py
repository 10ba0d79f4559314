"""Commands that this process starts: they end when it does, and what they print goes to a log."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ['end_on_signals', 'run_logged', 'started']

_GRACE = 30  # seconds that a command has to end by itself, as a training needs that saves its state
_LOOK = 0.1  # seconds between two looks at a log


@contextlib.contextmanager
def end_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block by ``SystemExit``, as Ctrl-C does by ``KeyboardInterrupt``.

    So what the block has started and begun to write is ended and removed. A signal that is ignored or handled already
    stays so.

    Example:
        >>> try:
        ...     with end_on_signals():
        ...         signal.raise_signal(signal.SIGTERM)
        ... except SystemExit as end:
        ...     end.code
        143
    """
    previous = {}

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                previous[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def started(command: Sequence[Any], **options: Any) -> Iterator[subprocess.Popen]:
    """Start a command, and end it with all that it started if the block ends before it.

    It has a process group of its own, which gets SIGTERM and, 30 seconds later, SIGKILL; so Ctrl-C in a terminal
    reaches it in this way alone.

    Args:
        command: Its words.
        options: Further arguments of ``subprocess.Popen``.

    Yields:
        The process.

    Example:
        >>> with started(['sleep', '60']) as process:
        ...     pass
        >>> process.returncode
        -15
    """
    with end_on_signals():
        with _later() as arrived:
            process = subprocess.Popen([str(word) for word in command], start_new_session=True, **options)
        try:
            for number in arrived:
                signal.raise_signal(number)
            yield process
        finally:
            if process.poll() is None:
                _end_group(process)


def run_logged(
    command: Sequence[Any],
    log: str | Path,
    tell: Callable[[list[str]], object],
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> int:
    """Run a command to its end, with what it prints at the end of a log.

    Args:
        command: Its words.
        log: The log file; what it holds is kept.
        tell: Called with the new complete lines of the log, which may be none, several times a second.
        environment: Variables to set for it. Defaults to None.
        pass_fds: File descriptors that it inherits. Defaults to ().

    Returns:
        Its exit status.

    Example:
        >>> run_logged(['echo', 'done'], 'example.log', lambda lines: print(lines) if lines else None)
        ['done']
        0
    """
    with open(log, 'ab') as file, open(log, 'rb') as reader:
        reader.seek(0, os.SEEK_END)
        variables = {**os.environ, 'PYTHONUNBUFFERED': '1', **(environment or {})}  # lines in their order, and at once
        streams = dict(stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        with started(command, env=variables, pass_fds=pass_fds, **streams) as process:
            rest, ended = b'', False
            while not ended:
                time.sleep(_LOOK)
                # Asked before the log is read, so that its last lines are read as well.
                ended = process.poll() is not None
                *lines, rest = (rest + reader.read()).split(b'\n')
                tell([line.decode(errors='replace') for line in lines])
            tell([rest.decode(errors='replace')] if rest else [])
    return process.returncode


@contextlib.contextmanager
def _later() -> Iterator[list[int]]:
    """Note the signals that would end the block, for while a process starts, nobody knows yet that it must be ended."""
    arrived: list[int] = []
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if callable(signal.getsignal(number)):
                previous[number] = signal.signal(number, lambda number, frame: arrived.append(number))
    try:
        yield arrived
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _end_group(process: subprocess.Popen) -> None:
    """End a process and its group: by SIGTERM, and by SIGKILL what is left after a while, or if this is interrupted."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        end = time.monotonic() + _GRACE
        while _is_left(process) and time.monotonic() < end:
            time.sleep(_LOOK)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_left(process: subprocess.Popen) -> bool:
    """Whether any process of the group is left."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
