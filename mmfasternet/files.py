"""Files that are written whole or not at all."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from .errors import UserError

__all__ = ['write_json', 'write_whole']


def write_whole(path: str | Path, content: bytes) -> Path:
    """Write a file under a temporary name and rename it, so that nobody ever finds half of it.

    Args:
        path: The file; its folder is made if it is missing.
        content: What it shall hold.

    Returns:
        The path.

    Raises:
        UserError: If it can't be written; a file that was there stays as it was.

    Example:
        >>> write_whole('example.txt', b'whole').read_text()
        'whole'
    """
    path = Path(path)
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise UserError(f'can not write {path} ({error.strerror or error}); name another place') from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return path


def write_json(path: str | Path, value: Any) -> Path:
    """Write a JSON file whole or not at all.

    Args:
        path: The file; its folder is made if it is missing.
        value: What json can write.

    Returns:
        The path.

    Raises:
        UserError: If it can't be written; a file that was there stays as it was.

    Example:
        >>> write_json('example.json', dict(a=1)).name
        'example.json'
    """
    return write_whole(path, json.dumps(value, indent=1).encode() + b'\n')
