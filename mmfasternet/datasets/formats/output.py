"""The folder that a conversion writes, which replaces nothing but an earlier conversion of the same source."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmfasternet.datasets.annotations import read_annotations
from mmfasternet.errors import UserError
from mmfasternet.files import write_json

from .parse import as_dict

__all__ = ['digest', 'own_folder', 'read_summary', 'summary_digest', 'write_summary']

_SUMMARY = 'summary.json'


def digest(root: Path) -> str:
    """What tells a source from another one without naming it.

    Args:
        root: The source, resolved.

    Returns:
        16 hexadecimal digits.

    Example:
        >>> digest(Path('/data/a')) == digest(Path('/data/b'))
        False
    """
    return sha256(bytes(root)).hexdigest()[:16]


def own_folder(source: Path, out: Path, name: str, digest_in: Callable[[Path], str | None]) -> Path:
    """The folder to write.

    Args:
        source: Folder of the export.
        out: Where the user wants the conversion.
        name: Of the folder in ``out``.
        digest_in: Gives the digest of the source that a file or folder was made from, or None if it is another one.

    Returns:
        The folder, which holds nothing or an earlier conversion of the same source.

    Raises:
        UserError: If it is in the source, or holds something else.
    """
    if out.resolve().is_relative_to(source.resolve()):
        raise UserError(f'{out} is in {source}, where it would be read as a part of it; choose a folder outside')
    folder = out / name
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f'{folder} is not a folder; choose another --out')
    expected = digest(source.resolve())
    for path in sorted(folder.iterdir()) if folder.exists() else []:
        if digest_in(path) != expected:
            raise UserError(f'{path} was not made from {source}; choose another --out, or remove {folder}')
    return folder


def write_summary(folder: Path, root: Path, **facts: Any) -> None:
    """Write what a config needs to know of a conversion.

    Args:
        folder: The folder of the conversion.
        root: The source, resolved.
        facts: What JSON can write.

    Example:
        >>> write_summary(Path('semantic'), Path('/data/a'), classes=['cat'])
        >>> read_summary('semantic')['classes']
        ['cat']
    """
    write_json(folder / _SUMMARY, dict(source=digest(root), **facts))


def read_summary(folder: str | Path) -> dict[str, Any]:
    """Read what :func:`write_summary` wrote.

    Args:
        folder: The folder of the conversion.

    Returns:
        The facts.

    Raises:
        UserError: If it can't be read.
    """
    return as_dict(read_annotations(Path(folder, _SUMMARY)))


def summary_digest(path: Path) -> str | None:
    """The digest of the source that a part of a conversion with a summary was made from.

    Args:
        path: The part.

    Returns:
        The digest, or None if there is no summary beside it.
    """
    return read_summary(path.parent).get('source') if path.with_name(_SUMMARY).is_file() else None
