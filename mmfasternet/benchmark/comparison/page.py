"""A report as one HTML file that needs no network."""

from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from plotly.offline import get_plotlyjs

from mmfasternet.benchmark.published.tables import published

from .collect import Group, Report, ReportRow
from .provenance import TIMM_SETTING, by_setting, plotted_settings, pretraining_words

__all__ = ['render_page']

# matplotlib's markers in plotly's words.
_SYMBOLS = {
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
    '<': 'triangle-left',
    '>': 'triangle-right',
    'd': 'diamond-tall',
}


def render_page(report: Report) -> str:
    """The report as a page: a plot with axes to choose, a table to sort, the machines and their records."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters['words'] = _words
    data = dict(
        groups=[_group_data(report, group) for group in report.groups],
        families=[
            dict(family=family, colour=colour, symbol=_SYMBOLS[marker])
            for family, (colour, marker) in report.styles.items()
        ],
        rows=[_row_data(report, row) for row in report.rows],
        # Those that the horizontal axis offers.
        speeds=[*plotted_settings(report.rows), TIMM_SETTING],
    )
    return environment.get_template('page.html').render(
        data=data,
        plotlyjs=get_plotlyjs(),
        records={machine: _machine_records(report, machine) for machine in report.machines},
        report=report,
        published=any(row.published for row in report.rows),
        # The months in which the sources were read.
        provenance=' and '.join(sorted({row.provenance.read for row in report.rows if row.provenance.read})),
        speeds=by_setting(report.rows),
        systems=published('systems'),
        # Without AP and latency there is nothing to choose from.
        choices=any(row.ap and (row.latencies or (row.published and row.published.latency_ms)) for row in report.rows),
    )


def _group_data(report: Report, group: Group) -> dict:
    return dict(machine=group.machine, place=report.place(group), setting=group.setting, title=report.title(group))


def _row_data(report: Report, row: ReportRow) -> dict:
    return dict(
        label=row.label,
        marked=row.marked_label,
        family=row.family,
        schedule=row.schedule,
        config=row.config,
        published=row.published and asdict(row.published),
        provenance=asdict(row.provenance),
        pretraining=pretraining_words(row),
        speeds={speed.setting: speed.image_ms for speed in row.speeds},
        timm=next((speed.value for speed in row.speeds if speed.setting == TIMM_SETTING), None),
        # The page takes the first of those whose machine is on.
        complexities=[_brief(record) for record in row.complexities[::-1]],
        aps=[_brief(record) for record in row.aps[::-1]],
        latencies=[_brief(record) | _group_data(report, group) for group, record in row.latencies.items()],
    )


def _brief(record: dict) -> dict:
    """Without the single runs, parts and curves, which the page doesn't show."""
    return {key: value for key, value in record.items() if key not in ('rounds', 'parts', 'curves')}


def _machine_records(report: Report, machine: str) -> list[tuple[ReportRow, str, dict]]:
    """The machine's records, each with its row and what it is of."""
    found = []
    for row in report.rows:
        found += [(row, 'complexity', record) for record in row.complexities]
        found += [(row, _words(['AP', record.get('source'), record.get('dataset')]), record) for record in row.aps]
        found += [(row, f'latency, {report.title(group)}', record) for group, record in row.latencies.items()]
    return [(row, what, record) for row, what, record in found if record['machine'] == machine]


def _words(value: object) -> str:
    """A value of a file as a reader would write it."""
    if isinstance(value, dict):
        return ', '.join(f'{key} {_words(item)}' for key, item in value.items())
    if isinstance(value, list):
        return ', '.join(_words(item) for item in value if item is not None)
    return '' if value is None else str(value)
