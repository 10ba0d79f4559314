"""A page as one HTML file that needs no network and no script."""

import base64
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from mmfasternet.errors import printable
from mmfasternet.files import write_file

from .outlines import CANVAS, OutlinedImage, shorten

__all__ = ['Bars', 'Bullets', 'Figure', 'Gallery', 'Matrix', 'Page', 'Section', 'Table', 'write_page']

# Characters of a text in a table or a list, and of a bar's label.
_TEXT, _LABEL = 400, 40
# A cell of no more is on one line.
_LINE = 24
# A number that is written as a text.
_WRITTEN = re.compile(r'[\d,]*\d(\.\d+)?')


@dataclass(frozen=True)
class Bullets:
    """A list of texts."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table, which scrolls in its own box where it is wider than the window.

    Args:
        head: Titles of the columns.
        rows: Texts and numbers, or None for an empty cell. Whole numbers are shown with all their digits, others with
            one after the point; a column of numbers, which may be written as texts, is aligned right.
        caption: Above it. Defaults to nothing.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    caption: str = ''

    def aligned_right(self) -> list[bool]:
        """Of each column, whether it is one of numbers."""
        columns = ([row[place] for row in self.rows] for place in range(len(self.head)))
        return [_all_numbers([cell for cell in column if cell is not None]) for column in columns]


@dataclass(frozen=True)
class Bars:
    """Horizontal bars, each stacked of as many parts as there are series.

    Args:
        series: What the parts are of; a single one has no legend.
        rows: A label, and the part of each series, 0 or more.
        caption: Above them. Defaults to nothing.
    """

    series: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float]]]
    caption: str = ''

    @property
    def longest(self) -> float:
        return max((sum(parts) for _, parts in self.rows), default=0) or 1

    @property
    def label_width(self) -> int:
        return min(20, max((len(label) for label, _ in self.rows), default=0))


@dataclass(frozen=True)
class Figure:
    """A PNG, with a text for who can't see it, and a caption."""

    png: bytes
    alt: str
    caption: str = ''


@dataclass(frozen=True)
class Gallery:
    """Images with outlines, side by side.

    Args:
        images: In their order.
        title: Above them. Defaults to nothing.
        pairs: Whether two after each other are shown beside each other, and larger. Defaults to False.
        small: Whether four are side by side; of pairs, on a narrow window without labels. Defaults to False.
    """

    images: Sequence[OutlinedImage]
    title: str = ''
    pairs: bool = False
    small: bool = False


@dataclass(frozen=True)
class Matrix:
    """How often each row goes with each column; a cell is shaded by its share of its row, and empty if it is 0.

    Args:
        rows: Their names.
        columns: Their names.
        counts: Of each row, the count of each column, 0 or more.
        caption: Above it. Defaults to nothing.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    counts: Sequence[Sequence[int]]
    caption: str = ''

    def share(self, row: int, column: int) -> float:
        """A cell's share of its row, in percent."""
        return 100 * self.counts[row][column] / max(1, sum(self.counts[row]))


@dataclass(frozen=True)
class Section:
    """A part of a page; a text in it is a paragraph."""

    title: str
    parts: Sequence[str | Bullets | Table | Bars | Matrix | Figure | Gallery]


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Args:
        title: Of the page and of its window.
        summary: One line.
        figures: What is counted or measured → its value.
        sections: In their order; links to them stand on top.
    """

    title: str
    summary: str
    figures: dict[str, str | float | None]
    sections: Sequence[Section]


def write_page(path: str | Path, page: Page) -> Path:
    """Write a page.

    All texts may come from users' files: they are escaped, and cut where they are too long.

    Args:
        path: The HTML file.
        page: What it shows.

    Returns:
        The path.

    Raises:
        UserError: If it can't be written.

    Example:
        >>> page = Page('Cats', 'A few.', {'images': 2}, [Section('All', [Table(['name', 'mice'], [['Tom', 3]])])])
        >>> text = write_page('cats.html', page).read_text()
        >>> '<td class="number">3</td>' in text
        True
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_finalize)
    environment.filters.update(
        cell=_cell, kind=lambda part: type(part).__name__, shorten=shorten, uri=_uri, width=_width
    )
    template = environment.from_string(Path(__file__).with_name('page.html').read_text(encoding='utf-8'))
    return write_file(path, template.render(page=page, canvas=CANVAS, LABEL=_LABEL, TEXT=_TEXT).encode())


def _finalize(value: object) -> object:
    return printable(value) if type(value) is str else value


def _is_number(cell: object) -> bool:
    return isinstance(cell, Real)


def _all_numbers(cells: list[str | float]) -> bool:
    return bool(cells) and all(_is_number(cell) or _WRITTEN.fullmatch(cell) for cell in cells)


def _cell(value: str | float | None) -> str:
    if value is None or (_is_number(value) and not math.isfinite(value)):
        return '–'
    if _is_number(value):
        return f'{value:,}' if isinstance(value, Integral) else f'{value:,.1f}'
    return shorten(value, _TEXT)


def _width(value: str | float | None) -> str:
    return 'short' if len(_cell(value)) <= _LINE else 'long'


def _uri(content: bytes, kind: str) -> Markup:
    return Markup(f'data:{kind};base64,{base64.b64encode(content).decode()}')
