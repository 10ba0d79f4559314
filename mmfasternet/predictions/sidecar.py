"""The JSON beside a file whose format has no place for what the file says about itself."""

import json
from pathlib import Path
from typing import Any

from mmfasternet.errors import UserError

__all__ = ['read_sidecar', 'sidecar_of']

# Bytes of such a JSON.
_LARGEST = 10_000_000


def sidecar_of(path: str | Path) -> Path:
    """The JSON of a file.

    Args:
        path: The file.

    Returns:
        Where its JSON is.

    Example:
        >>> sidecar_of('detector.pte').name
        'detector.pte.json'
    """
    return Path(f'{path}.json')


def read_sidecar(path: str | Path) -> dict[str, Any]:
    """Read the JSON of a file, which anybody may have written.

    Args:
        path: The file, not its JSON.

    Returns:
        Key → value.

    Raises:
        UserError: If one of the two files is missing, or the JSON is none.
    """
    found = sidecar_of(path)
    for file in (Path(path), found):
        if not file.is_file():
            raise UserError(f'{file} does not exist or is no file; tools/export.py writes {path} together with {found}')
    try:
        if found.stat().st_size > _LARGEST:
            raise ValueError(f'it has more than {_LARGEST} bytes')
        content = json.loads(found.read_text(encoding='utf-8'))
        if not isinstance(content, dict):
            raise ValueError('it is no object')
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{found} is not what tools/export.py writes ({error}); export {path} again') from error
    return content
