"""Files and folders that are written completely or not at all."""

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from .errors import UserError

__all__ = ['check_path', 'file_digest', 'replacing', 'write_file', 'write_json']

_FULL = (errno.ENOSPC, errno.EDQUOT)
# How torch.save says that a write failed; it keeps the system's reason to itself.
_TORCH_FAILED = ('PytorchStreamWriter failed', 'file write failed', 'inline_container', 'iostream error')


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file or a folder under a temporary name, and give it its own name once it is complete.

    The block writes to the temporary path, which is beside the target (links are followed) and named
    ``.NAME.RANDOM.part``, so that nobody can put a link there. If the block fails, the temporary files are removed and
    the target stays as it was. A file is on the disk before it gets its name, so that a power cut leaves the old one or
    the new one.

    Args:
        path: The file, or the folder, to create or to replace; its parent is created if it is missing.

    Yields:
        The temporary path, at which nothing exists yet.

    Raises:
        UserError: If an OSError ends the block, or torch can't write, or the target can't be replaced.

    Example:
        >>> with replacing('example.txt') as part:
        ...     part.write_text('complete')
        8
        >>> Path('example.txt').read_text()
        'complete'
    """
    target, random = Path(path).resolve(), secrets.token_hex(8)
    part, old = (target.with_name(f'.{target.name}.{random}.{suffix}') for suffix in ('part', 'old'))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if part.is_dir() and target.is_dir():
            # A rename replaces files, but of folders only empty ones.
            target.rename(old)
        if part.is_file():
            _to_disk(part)
        part.replace(target)
        with contextlib.suppress(OSError):  # not every file system can do this to a folder
            _to_disk(target.parent)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(_failed(path, reason) if error.errno in _FULL else _refused(path, reason)) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _TORCH_FAILED):
            raise
        raise UserError(_failed(path, 'torch could not write all of it')) from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for rest in (part, old):
            if rest.is_dir():
                shutil.rmtree(rest, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    rest.unlink()


def _to_disk(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(path: str | Path, reason: Any) -> str:
    return f'cannot write {path} ({reason}); choose another path'


def _failed(path: str | Path, reason: Any) -> str:
    """The message for a full disk, written before the part is removed."""
    stands = '; the earlier file stands as it was' if os.path.lexists(path) else ''
    return f'cannot write {path} ({reason}): the disk is full{stands}. Free some space, and run the command again'


def check_path(path: str | Path) -> None:
    """Make sure that a file can have this path, before what it is to hold takes its time.

    Args:
        path: The file.

    Raises:
        UserError: If it is a folder, or lies in what is no folder.

    Example:
        >>> check_path('results/example.txt')
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f'cannot write {path}, which is a folder; choose another path')
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir():
        raise UserError(f'cannot write {path}, since {nearest} is no folder; choose another path')


def write_file(path: str | Path, content: bytes) -> Path:
    """Write a file completely or not at all.

    Args:
        path: The file; its folder is created if it is missing.
        content: What it is to hold.

    Returns:
        The path.

    Raises:
        UserError: If it can't be written; a file that was there stays as it was.

    Example:
        >>> write_file('example.txt', b'complete').read_text()
        'complete'
    """
    with replacing(path) as part:
        part.write_bytes(content)
    return Path(path)


def write_json(path: str | Path, value: Any) -> Path:
    """Write a JSON file completely or not at all.

    Args:
        path: The file; its folder is created if it is missing.
        value: What json can write, without NaN and infinity, which JSON has no word for.

    Returns:
        The path.

    Raises:
        UserError: If it can't be written; a file that was there stays as it was.
        ValueError: If a number is not finite.

    Example:
        >>> write_json('example.json', dict(a=1)).name
        'example.json'
    """
    return write_file(path, json.dumps(value, indent=1, allow_nan=False).encode() + b'\n')


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a file.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> Path('empty.pth').touch()
        >>> file_digest('empty.pth')[:8]
        'e3b0c442'
    """
    digest = sha256()
    with open(path, 'rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
