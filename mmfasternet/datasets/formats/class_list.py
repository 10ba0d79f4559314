"""A list of classes beside semantic maps: names in the order of the numbers, or each with its number or its colour."""

import re
from dataclasses import dataclass
from pathlib import Path

from mmfasternet.errors import UserError, printable

from .files import SourceFiles
from .parse import read_lines

__all__ = ['ClassList', 'code_of', 'find_class_list']

_NAMES = (
    *('label_colors.txt', 'label_colours.txt', 'class_dict.csv', '_classes.csv', 'classes.csv', 'labelmap.txt'),
    *('classes.txt', 'labels.txt', 'class_names.txt', 'codes.txt'),
)
# More words are no line of a list.
_WORDS = 50


@dataclass(frozen=True)
class ClassList:
    """The classes of semantic maps.

    Args:
        path: The file, below the source.
        numbers: Number → name.
        colours: Code of a colour → name; empty if the list has no colours.
    """

    path: Path
    numbers: dict[int, str]
    colours: dict[int, str]


def find_class_list(files: SourceFiles) -> ClassList | None:
    """Find the list of classes of a source: the first of a known name, nearest to the top.

    Args:
        files: The source.

    Returns:
        The list, or None if there is none.

    Raises:
        UserError: If it can't be read, or two classes have the same number or colour.

    Example:
        >>> from .source import Notes
        >>> Path('set').mkdir()
        >>> _ = Path('set/class_dict.csv').write_text('name,r,g,b\\nroad,128,64,128\\ntraffic light,250,170,30')
        >>> find_class_list(SourceFiles(Path('set'), Notes())).numbers
        {0: 'road', 1: 'traffic light'}
    """
    named = [path for path in files.ending('.txt', '.csv') if path.name.lower() in _NAMES]
    if not named:
        return None
    path = min(named, key=lambda path: (len(path.parts), _NAMES.index(path.name.lower())))
    lines = [line for line in read_lines(files.root / path) if not line.startswith('#')]
    rows = [row for row in map(_parse, lines) if row[0]]
    coloured = [(name, code_of(values)) for name, values in rows if len(values) == 3]
    if coloured:  # a line without a colour is the header
        names = [name for name, _ in coloured]
        return ClassList(path, dict(enumerate(names)), _unique(path, [(code, name) for name, code in coloured]))
    if len(rows) > 1 and all(values for _, values in rows[1:]):
        return ClassList(path, _unique(path, [(values[0], name) for name, values in rows if values]), {})
    return ClassList(path, dict(enumerate(printable(line) for line in lines)), {})


def code_of(colour: list[int]) -> int:
    """The number of a colour.

    Args:
        colour: Red, green and blue, from 0 to 255.

    Returns:
        The number.

    Example:
        >>> hex(code_of([255, 128, 0]))
        '0xff8000'
    """
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _parse(line: str) -> tuple[str, list[int]]:
    """A name with its colour, with its number, or alone."""
    words = [word for word in re.split(r'[\s,;:]+', line) if word][:_WORDS]
    values = [int(word) if re.fullmatch(r'\d{1,5}', word) else None for word in words]
    for start in range(len(words) - 2):
        colour = values[start : start + 3]
        if all(value is not None and value < 256 for value in colour):
            return printable(' '.join(words[:start] or words[3:])), colour
    if len(words) > 1 and values[0] is not None:
        return printable(' '.join(words[1:])), values[:1]
    return printable(' '.join(words)), []


def _unique(path: Path, pairs: list[tuple[int, str]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for code, name in pairs:
        if found.setdefault(code, name) != name:
            raise UserError(f'{path} gives {found[code]!r} and {name!r} the same number or colour')
    return found
