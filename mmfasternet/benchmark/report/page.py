"""A report as one HTML file that needs no network."""

from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment
from plotly.offline import get_plotlyjs

from .plots import family_styles
from .table import Report, ReportRow, rank_correlation

__all__ = ['render_page']

# matplotlib's markers in plotly's words.
SYMBOLS = {
    'o': 'circle',
    's': 'square',
    'D': 'diamond',
    '^': 'triangle-up',
    'v': 'triangle-down',
    'P': 'cross',
    'X': 'x',
    '*': 'star',
    'p': 'pentagon',
    'h': 'hexagon',
}


def render_page(report: Report) -> str:
    """The report as a page: a plot with axes to choose, a table to sort, the machines and their records.

    Args:
        report: From :func:`~mmfasternet.benchmark.report.table.collect`.

    Returns:
        The HTML, with plotly.js in it.

    Example:
        >>> render_page(collect([]))[:15]
        '<!DOCTYPE html>'
    """
    template = Path(__file__).with_name('page.html').read_text(encoding='utf-8')
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters['words'] = words
    groups = [dict(machine=group.machine, setting=group.setting, title=report.title(group)) for group in report.groups]
    data = dict(
        machines=[dict(id=key, label=machine['label']) for key, machine in report.machines.items()],
        groups=groups,
        families=[
            dict(family=family, colour=colour, symbol=SYMBOLS[marker])
            for family, (colour, marker) in family_styles(report).items()
        ],
        rows=[row_data(report, row) for row in report.rows],
    )
    return environment.from_string(template).render(
        data=data,
        plotlyjs=get_plotlyjs(),
        machines=report.machines,
        correlations=[(group, rank_correlation(report, group)) for group in report.groups],
        records={key: machine_records(report, key) for key in report.machines},
        report=report,
        published=any(row.published for row in report.rows),
    )


def row_data(report: Report, row: ReportRow) -> dict:
    latencies = [
        dict(brief(record), setting=group.setting, title=report.title(group)) for group, record in row.latencies.items()
    ]
    return dict(
        label=row.label,
        family=row.family,
        schedule=row.schedule,
        config=row.config,
        published=row.published and asdict(row.published),
        # The page takes the first of those whose machine is on.
        complexities=[brief(record) for record in row.complexities[::-1]],
        aps=[brief(record) for record in row.aps[::-1]],
        latencies=latencies,
    )


def brief(record: dict) -> dict:
    """Without the single runs and parts, which the page doesn't show."""
    return {key: value for key, value in record.items() if key not in ('rounds', 'parts')}


def machine_records(report: Report, machine: str) -> list[tuple[ReportRow, str, dict]]:
    """The machine's records, each with its row and what it is of."""
    found = []
    for row in report.rows:
        found += [(row, 'complexity', record) for record in row.complexities]
        found += [(row, words(['AP', record.get('source'), record.get('dataset')]), record) for record in row.aps]
        found += [(row, f'latency, {group.setting}', record) for group, record in row.latencies.items()]
    return [(row, what, record) for row, what, record in found if record['machine'] == machine]


def words(value: object) -> str:
    """A value of a file as a reader would write it."""
    if isinstance(value, dict):
        return ', '.join(f'{key} {words(item)}' for key, item in value.items())
    if isinstance(value, list):
        return ', '.join(words(item) for item in value if item is not None)
    return '' if value is None else str(value)
