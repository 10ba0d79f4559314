"""How a report of the data words counts and lists."""

from collections.abc import Iterable

from mmfasternet.datasets.formats import Notes

__all__ = ['count_of', 'first_of', 'list_notes', 'listed', 'side_by_side']

_NAMED = 8
_EXAMPLES = 3


def listed(names: Iterable[str]) -> str:
    """Some names, and the number of the others.

    Args:
        names: Any number.

    Returns:
        One line.

    Example:
        >>> listed('abcdefghij')
        'a, b, c, d, e, f, g, h and 2 more'
    """
    names = list(names)
    rest = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
    return ', '.join(names[:_NAMED]) + rest


def count_of(count: int, one: str, many: str | None = None) -> str:
    """A number and what it counts.

    Args:
        count: The number.
        one: The word for one.
        many: That for others. None adds an s. Defaults to None.

    Returns:
        Both.

    Example:
        >>> count_of(1, 'image'), count_of(2000, 'class', 'classes')
        ('1 image', '2,000 classes')
    """
    return f'{count:,} {one if count == 1 else many or one + "s"}'


def side_by_side(size: tuple[int, int]) -> str:
    """A width and a height, or a longer and a shorter side, as a reader writes them.

    Args:
        size: Both, in pixels.

    Returns:
        One text.

    Example:
        >>> side_by_side((640, 480))
        '640 × 480'
    """
    return f'{size[0]} × {size[1]}'


def first_of(shown: int, number: int) -> str:
    """What to add to a caption where not all are shown.

    Args:
        shown: As many as are shown at most.
        number: As many as there are.

    Returns:
        It, or nothing where all are shown.

    Example:
        >>> first_of(8, 40), first_of(8, 3)
        (', the first 8 of 40', '')
    """
    return f', the first {shown} of {number}' if number > shown else ''


def list_notes(notes: Notes) -> list[str]:
    """What was read, repaired and left out.

    Args:
        notes: Of a source.

    Returns:
        A text for each kind, with a few of its places.
    """
    bad = {'file that cannot be used': notes.bad} if notes.bad else {}
    sorts = dict(repaired=notes.repaired, noticed=notes.noticed) | {'left out': notes.left_out | bad}
    items = [
        f'{sort}: {len(places):,} × {kind}, as {"; ".join([*places[:_EXAMPLES], *(["…"] * (len(places) > _EXAMPLES))])}'
        for sort, kinds in sorts.items()
        for kind, places in kinds.items()
    ]
    return [*notes.remarks, *(items or ['nothing was repaired or left out'])]
