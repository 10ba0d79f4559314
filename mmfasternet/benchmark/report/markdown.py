"""Pieces of Markdown that the pages drawn from records share."""

import html
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from mmfasternet.benchmark.records import Records

__all__ = [
    'bullets',
    'commits',
    'dates',
    'escape_markdown',
    'escape_records',
    'flagged',
    'latency',
    'milliseconds',
    'origin',
    'span',
    'table',
]


def origin(records: Records) -> str:
    """Where, when and with what a file of records was taken.

    Args:
        records: The file.

    Returns:
        The beginning of a sentence, without a full stop.

    Example:
        >>> record = dict(date='2026-01-02T03:04:05+00:00', commit='0123456789')
        >>> origin(Records(dict(label='Some CPU'), records=[record]))
        'Measured on Some CPU, 2026-01-02, commit 0123456789'
    """
    taken = records.records
    return f'Measured on {records.machine["label"]}, {dates(taken)}, commit {commits(taken)}'


def escape_markdown(text: str) -> str:
    """A text that Markdown shows as it is.

    Args:
        text: The text, in one line.

    Returns:
        The same with all that has a meaning in Markdown or HTML escaped.

    Example:
        >>> escape_markdown('a_b <c>')
        'a\\\\_b &lt;c&gt;'
    """
    return re.sub(r'([\\`*_|~$\[\]#])', r'\\\1', html.escape(text, quote=False))


def escape_records(records: Records) -> Records:
    """Records of which no text is more than a text, wherever a page puts it: a cell, a sentence, a code span, a link.

    Unlike :func:`escape_markdown`, it leaves ``_`` and ``*`` as they are, so that names still compare equal.

    Args:
        records: The file.

    Returns:
        A copy without HTML, links, images, code spans and columns in the texts of the machine and the records.

    Example:
        >>> escape_records(Records(dict(label='<b>'), records=[dict(label='a|b')])).records
        [{'label': 'a\\\\|b'}]
    """
    return Records(_escaped(records.machine), records.path, _escaped(records.records))


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if not isinstance(value, str):
        return value
    line = ''.join(letter if letter.isprintable() else ' ' for letter in value)
    return re.sub(r'([|`\[\]])', r'\\\1', html.escape(line, quote=False))


def dates(records: Iterable[dict]) -> str:
    """When records were taken.

    Args:
        records: Each with ``date``.

    Returns:
        The day, or the first and the last.

    Example:
        >>> dates([dict(date='2026-01-02T03:04:05+00:00'), dict(date='2026-01-01T06:07:08+00:00')])
        '2026-01-01 to 2026-01-02'
    """
    days = sorted(record['date'][:10] for record in records)
    return days[0] if days[0] == days[-1] else f'{days[0]} to {days[-1]}'


def commits(records: Iterable[dict]) -> str:
    """The commits that records were taken with.

    Args:
        records: Each with ``commit``.

    Returns:
        Each once, in the order of the records.

    Example:
        >>> commits([dict(commit='0123456'), dict(commit='89abcde'), dict(commit='0123456')])
        '0123456, 89abcde'
    """
    return ', '.join(dict.fromkeys(str(record['commit']) for record in records))


def bullets(lines: Iterable[str]) -> str:
    """A list in Markdown.

    Args:
        lines: Its entries.

    Returns:
        The text.

    Example:
        >>> bullets(['one', 'two'])
        '- one\\n- two'
    """
    return '\n'.join(f'- {line}' for line in lines)


def flagged(figures: Iterable[dict]) -> str:
    """How many of some latencies are flagged.

    Args:
        figures: Each with ``flags``, see docs/records.md.

    Returns:
        A sentence.

    Example:
        >>> flagged([dict(flags=[]), dict(flags=['busy'])])
        '\\\\* marks the 1 of 2 that are flagged: the machine was busy or slowed down while they were taken.'
    """
    flags = [bool(one['flags']) for one in figures]
    if not any(flags):
        return 'None is flagged.'
    return (
        f'\\* marks the {sum(flags)} of {len(flags)} that are flagged: the machine was busy or slowed down while they '
        'were taken.'
    )


def milliseconds(value: float) -> str:
    """Milliseconds with three digits, before and after the point.

    Args:
        value: Milliseconds, above 0.

    Returns:
        The number, without an exponent.

    Example:
        >>> milliseconds(0.08765), milliseconds(1.234), milliseconds(12.34), milliseconds(1234.5)
        ('0.0877', '1.23', '12.3', '1,234')
    """
    return f'{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}'


def latency(figures: dict) -> str:
    """A latency for a table.

    Args:
        figures: With ``median_ms`` and ``flags``, see docs/records.md.

    Returns:
        Milliseconds, with an asterisk where they are flagged.

    Example:
        >>> latency(dict(median_ms=12.34, flags=[])), latency(dict(median_ms=1.234, flags=['busy']))
        ('12.3', '1.23 \\\\*')
    """
    return milliseconds(figures['median_ms']) + ' \\*' * bool(figures['flags'])


def span(values: Iterable[float], digits: int = 2) -> str:
    """The lowest and the highest of some numbers, or the one that they all are.

    Args:
        values: The numbers.
        digits: Decimals. Defaults to 2.

    Returns:
        The text.

    Example:
        >>> span([2, 1, 1.5]), span([1, 1.001])
        ('1.00 to 2.00', '1.00')
    """
    texts = list(dict.fromkeys(f'{value:.{digits}f}' for value in sorted(values)))
    return texts[0] if len(texts) == 1 else f'{texts[0]} to {texts[-1]}'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, whose columns but the first are aligned to the right.

    Args:
        head: Names of the columns.
        rows: Lines, a text for each column.

    Returns:
        The text.

    Example:
        >>> print(table(['operator', 'ms'], [['Conv', '1.2']]))
        | operator | ms |
        | --- | ---: |
        | Conv | 1.2 |
    """
    lines = [head, ['---', *['---:'] * (len(head) - 1)], *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
