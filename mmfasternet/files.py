"""Files and folders that are written completely or not at all."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import UserError

__all__ = ['replacing', 'write_file', 'write_json']


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file or a folder under a temporary name, and give it its own name once it is complete.

    The block writes to the temporary path, which is beside the target (links are followed). If the block fails, the
    temporary files are removed and the target stays as it was.

    Args:
        path: The file, or the folder, to create or to replace; its parent is created if it is missing.

    Yields:
        The temporary path, at which nothing exists yet.

    Raises:
        UserError: If an OSError ends the block, or the target can't be replaced.

    Example:
        >>> with replacing('example.txt') as part:
        ...     part.write_text('complete')
        8
        >>> Path('example.txt').read_text()
        'complete'
    """
    target = Path(path).resolve()
    part, old = (target.with_name(f'.{target.name}.{os.getpid()}.{suffix}') for suffix in ('part', 'old'))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if part.is_dir() and target.is_dir():
            # A rename replaces files, but of folders only empty ones.
            target.rename(old)
        part.replace(target)
    except OSError as error:
        raise UserError(f'cannot write {path} ({error.strerror or error}); choose another path') from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for rest in (part, old):
            if rest.is_dir():
                shutil.rmtree(rest, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    rest.unlink()


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
        value: What json can write.

    Returns:
        The path.

    Raises:
        UserError: If it can't be written; a file that was there stays as it was.

    Example:
        >>> write_json('example.json', dict(a=1)).name
        'example.json'
    """
    return write_file(path, json.dumps(value, indent=1).encode() + b'\n')
