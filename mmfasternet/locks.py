"""A lock that one process at a time can hold, among all processes of a machine or of a shared folder."""

import contextlib
import errno
import fcntl
import os
import platform
import warnings
from pathlib import Path
from typing import TextIO

from .errors import UserError

__all__ = ['exclusive']

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def exclusive(path: str | Path, doing: str, wait: bool = False) -> TextIO:
    """Take a lock, which is held until the returned file is closed, or the process ends in any way.

    A child process that inherits the file's descriptor (``pass_fds``) holds the lock too, until it ends. The lock file
    stays: if it were deleted, two processes could lock two files of one name. Where the file system has no locks, a
    warning says so, and nothing is locked.

    Args:
        path: The lock file, created with its folder if it is missing.
        doing: What the holder of the lock does, for the message to the next one, such as 'trains in work_dirs/a'.
        wait: Whether to print who holds the lock and wait for it, instead of raising an error. Defaults to False.

    Returns:
        The open lock file, a context manager.

    Raises:
        UserError: If another process holds the lock, with its id and host, or the file can't be opened.

    Example:
        >>> with exclusive('example.lock', 'runs the example'):
        ...     Path('example.lock').read_text().split()[0] == str(os.getpid())
        True
    """
    file = _open(Path(path))
    try:
        if not _lock(file, path, block=False):
            holder = f'{_holder(file)} {doing}'
            if not wait:
                raise UserError(
                    f'{holder}; wait until it has ended, or end it, or write elsewhere (its lock is {path})'
                )
            print(f'waiting for its end: {holder}', flush=True)
            _lock(file, path, block=True)
        # What is written is for readers alone, so a full disk is no reason to stop.
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), 0)
            os.pwrite(file.fileno(), f'{os.getpid()} {platform.node()}\n'.encode(), 0)
    except BaseException:
        file.close()
        raise
    return file


def _open(path: Path) -> TextIO:
    """Open a lock file without changing what it holds; links are not followed, since it will be overwritten."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), 'r+', errors='replace')
    except OSError as error:
        raise UserError(f'cannot write {path} ({error.strerror}); choose another folder') from error


def _lock(file: TextIO, path: str | Path, block: bool) -> bool:
    """Whether the file is locked now, or can't be on its file system."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno not in _NO_LOCKS:
            raise UserError(f'cannot lock {path} ({error.strerror}); choose another folder') from error
        warnings.warn(
            f'{path}: no locks here ({error.strerror}): make sure that nothing else writes there', stacklevel=3
        )
    return True


def _holder(file: TextIO) -> str:
    """Who holds the lock; a child may hold it longer than the process that took it."""
    pid, _, host = file.read(200).strip().partition(' ')
    known = pid.isdigit() and host.isprintable()
    return f'process {pid} of {host}, or one that it started,' if known else 'another process'
