"""Files of others, read without running anything, and within limits of size and depth."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import yaml

from mmfasternet.errors import UserError

__all__ = ['as_dict', 'as_list', 'read_lines', 'read_xml', 'read_yaml']

# COCO's own files have 450 MB; a LabelMe file holds its image.
_LARGEST = 2**31
_DEEPEST = 64


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file that has no DTD: entities, which can multiply or read other files, are refused.

    Args:
        path: The file.

    Returns:
        Its root.

    Raises:
        UserError: If it can't be read, declares a DTD, or is nested deeper than 64 elements.

    Example:
        >>> Path('a.xml').write_text('<a><b>1</b></a>')
        15
        >>> read_xml(Path('a.xml')).findtext('b')
        '1'
    """
    data = _read(path, _LARGEST)
    declared = re.match(rb'<\?xml[^>]*encoding=["\']([\w.-]+)["\']', data)
    builder, parser, depth = ElementTree.TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise UserError(f'{path} is nested deeper than {_DEEPEST} elements, which no annotation tool writes')
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: Any) -> None:
        raise UserError(f'{path} declares a document type, which may define entities; annotations need none: remove it')

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        # expat knows four encodings, and Chinese tools write others.
        known = not declared or declared[1].lower() in (b'utf-8', b'utf-16')
        parser.Parse(data if known else data.decode(declared[1].decode()), True)
        return builder.close()
    except (expat.ExpatError, UnicodeDecodeError, LookupError) as error:
        raise UserError(f'{path} is not XML, or was cut off: {error}') from error


def read_yaml(path: Path) -> Any:
    """Read a YAML file of texts, lists and dicts; nothing else is made of it, so that a class may be called ``no``.

    Args:
        path: The file, of at most 1 MiB.

    Returns:
        What it holds.

    Raises:
        UserError: If it can't be read.

    Example:
        >>> Path('a.yaml').write_text('names: [yes, 1.0]')
        17
        >>> read_yaml(Path('a.yaml'))
        {'names': ['yes', '1.0']}
    """
    try:
        return yaml.load(_read(path, 2**20), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f'{path} is not YAML: {error}') from error


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, of any system, without the empty ones.

    Args:
        path: The file, of at most 64 MiB.

    Returns:
        The lines, stripped.

    Raises:
        UserError: If it can't be read, or is not UTF-8.

    Example:
        >>> Path('a.txt').write_bytes(b'a b\\r\\n\\r\\nc')
        8
        >>> read_lines(Path('a.txt'))
        ['a b', 'c']
    """
    try:
        text = _read(path, 2**26).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(f'{path} is not a text in UTF-8; save it as one') from error
    return [line.strip() for line in re.split(r'[\r\n]+', text) if line.strip()]


def as_dict(value: Any) -> dict:
    """A value that should be a dict; an empty one in its place.

    Args:
        value: Anything.

    Returns:
        The value if it is a dict.

    Example:
        >>> as_dict([1])
        {}
    """
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list:
    """A value that should be a list; an empty one in its place.

    Args:
        value: Anything.

    Returns:
        The value if it is a list.

    Example:
        >>> as_list(None)
        []
    """
    return value if isinstance(value, list) else []


def _read(path: Path, limit: int) -> bytes:
    try:
        with open(path, 'rb') as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror})') from error
    if len(data) > limit:
        raise UserError(f'{path} has more than {limit} bytes, too many for a file of its kind')
    return data
