"""What the values in semantic maps mean: which numbers or colours are which classes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmfasternet.errors import UserError

from .class_list import ClassList
from .map_files import MapPixels, MapValues
from .source import Notes, listing

__all__ = ['IGNORE', 'Coding', 'choose_coding', 'parse_map']

#: The name, and the number in mmseg, of pixels without a class.
IGNORE, _IGNORED = 'ignore', 255
_BACKGROUND = 'background'


@dataclass(frozen=True)
class Coding:
    """The classes of semantic maps.

    Args:
        classes: Their names.
        table: Value in the maps → number of the class; other values are ignored.
        colours: Whether the values are colours.
    """

    classes: list[str]
    table: dict[int, int]
    colours: bool

    def labels(self, pixels: MapPixels) -> np.ndarray:
        """The number of the class of each pixel, uint8 (H, W); 255 is ignored."""
        values = pixels.colours if self.colours else pixels.numbers
        known = np.array(sorted(self.table))
        numbers = np.array([self.table[value] for value in known], np.uint8)
        places = np.searchsorted(known, values).clip(max=len(known) - 1)
        return np.where(known[places] == values, numbers[places], np.uint8(_IGNORED))

    def names_in(self, values: MapValues) -> list[str]:
        """The classes that a map has, in their order."""
        held = values.colours if self.colours else values.numbers
        return [self.classes[number] for number in sorted({self.table[value] for value in held if value in self.table})]


def parse_map(text: str) -> dict[int, str]:
    """Read ``--map``.

    Args:
        text: Such as '127=smoke,254=fire'.

    Returns:
        Value → name of its class.

    Raises:
        UserError: If it is something else, or names a value twice.

    Example:
        >>> parse_map('127=smoke, 254=fire')
        {127: 'smoke', 254: 'fire'}
    """
    names: dict[int, str] = {}
    for part in text.split(','):
        value, equals, name = (word.strip() for word in part.partition('='))
        if not (equals and name and value.isascii() and value.isdigit()) or int(value) in names:
            raise UserError(f'--map names each value once, such as 127=smoke,254=fire, but has {part.strip()!r}')
        names[int(value)] = name
    return names


def choose_coding(
    seen: dict[Path, MapValues], listed: ClassList | None, names: dict[int, str] | None, root: Path, notes: Notes
) -> Coding:
    """Find out what the values in maps mean.

    Args:
        seen: Map → its values.
        listed: The source's list of classes, or None.
        names: What the user says: value → name. None takes the source's own.
        root: The source, for messages.
        notes: What was found is noted here.

    Returns:
        The classes, in the order of their values.

    Raises:
        UserError: If nothing says what the values mean, or there is a single class.
    """
    coloured = listed is not None and names is None and _fits(seen.values(), listed)
    if not coloured:
        _refuse_colours(seen, listed, names, root)
    values = _used(seen.values(), coloured)
    if coloured:
        named = listed.colours if 0 in listed.colours else {0: _BACKGROUND, **listed.colours}
        notes.remarks.append(f'classes: by their colours, as in {listed.path}')
    elif names is not None:
        named = {0: _BACKGROUND, _IGNORED: IGNORE, **names}
        _refuse_others(values - named.keys(), root, 'are not in --map', names, values)
    elif listed is not None:
        named = {0: _BACKGROUND, _IGNORED: IGNORE, **_counted(listed.numbers, values)}
        notes.remarks.append(f'classes: as in {listed.path}')
        _refuse_others(values - named.keys(), root, f'are not in {listed.path}', {}, values)
    else:
        named = {value: _BACKGROUND if value == 0 else f'class_{value}' for value in values} | {_IGNORED: IGNORE}
        has_palette = all(item.has_palette for item in seen.values())
        counted = {*range(max(values - {_IGNORED}, default=0) + 1)}
        if not has_palette and values - {_IGNORED} | {0} != counted:
            _refuse_others(values, root, 'are not counted 0, 1, 2, … as classes are', {}, values)
        notes.remarks.append(
            'classes: without names in the source; put classes.txt with a name a line into it, or use --map 1=NAME,…'
        )
    return _coding(named, values, coloured, root, notes)


def _coding(named: dict[int, str], values: set[int], coloured: bool, root: Path, notes: Notes) -> Coding:
    # Colours are in the order of the list.
    used = {value: name for value, name in (named.items() if coloured else sorted(named.items())) if value in values}
    classes = list(dict.fromkeys(name for name in used.values() if name != IGNORE))
    for name in dict.fromkeys(named.values()):
        if name not in (*used.values(), _BACKGROUND, IGNORE):
            notes.leave_out('class without a pixel', name)
    if len(classes) < 2:
        _refuse_others(values, root, f'are of {len(classes)} class, which leaves nothing to tell apart', {}, values)
    if len(classes) > _IGNORED:
        raise UserError(f'{root} has {len(classes)} classes in its semantic maps, more than 255')
    table = {value: classes.index(name) for value, name in used.items() if name != IGNORE}
    shown = (f'#{value:06x}' if coloured else value for value in used)
    notes.remarks.append(
        'maps: ' + ', '.join(f'{value} is {name}' for value, name in zip(shown, used.values(), strict=True))
    )
    return Coding(classes, table, coloured)


def _fits(values: Iterable[MapValues], listed: ClassList) -> bool:
    """Whether every colour is in the list."""
    return bool(listed.colours) and all(
        item.colours is not None and item.colours <= {0, *listed.colours} for item in values
    )


def _used(values: Iterable[MapValues], coloured: bool) -> set[int]:
    return set().union(*(item.colours if coloured else item.numbers for item in values))


def _refuse_colours(
    seen: dict[Path, MapValues], listed: ClassList | None, names: dict[int, str] | None, root: Path
) -> None:
    path = next((path for path, item in seen.items() if item.numbers is None), None)
    if path is None:
        return
    if listed is None or not listed.colours or names is not None:
        raise UserError(
            f'{root / path} has classes in colours, and nothing says which; put label_colors.txt into {root}, with '
            'red, green, blue and the name of a class on each line'
        )
    unknown = sorted(_used((item for item in seen.values() if item.colours), True) - {0, *listed.colours})
    shown = [f'{code >> 16} {code >> 8 & 255} {code & 255}' for code in unknown]
    raise UserError(
        f'{len(unknown)} colours of the semantic maps in {root} are not in {listed.path}; add them, with the names of '
        'their classes:\n' + listing(shown)
    )


def _refuse_others(others: set[int], root: Path, why: str, names: dict[int, str], values: set[int]) -> None:
    """Raise an error with the option that says what all values mean, if there are others than those known."""
    if not others:
        return
    rest = sorted(value for value in values - names.keys() if value)
    words = [f'{value}={name}' for value, name in names.items()] + [f'{value}=NAME' for value in rest[:10]]
    shown = ', '.join(map(str, sorted(others)[:20])) + (', …' if len(others) > 20 else '')
    raise UserError(
        f'the values {shown} of the semantic maps in {root} {why}; say which class is which, or {IGNORE}: '
        f'--map {",".join(words)}{",…" if len(rest) > 10 else ""}'
    )


def _counted(numbers: dict[int, str], values: set[int]) -> dict[int, str]:
    """The list, counted from 1 if it names no background and the highest value is beyond its end."""
    highest = max(values - {_IGNORED}, default=0)
    if 0 in numbers and highest == len(numbers) == max(numbers) + 1:
        return {number + 1: name for number, name in numbers.items()}
    return numbers
