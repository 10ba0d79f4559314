"""Panels that a report's figures are made of: points of backbones with their families, fronts, labels and a legend."""

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from mmfasternet.benchmark.report.labels import Point, coordinates, cut, place_labels

from .collect import Group, Report, ReportRow, pareto_front

__all__ = [
    'RowPoint',
    'draw_latency_ap',
    'draw_points',
    'finish',
    'flops_points',
    'log_axis',
    'new_figure',
    'panel_title',
]

_PANEL = (6.6, 4.8)  # inches
_FRONT = dict(linestyle='--', linewidth=1, color='#555555')


@dataclass(frozen=True)
class RowPoint(Point):
    """A backbone in a panel, with the quartiles of its latency and the lowest and highest AP of its seeds as ranges."""

    family: str = 'other'
    filled: bool = True
    x_range: Sequence[float] | None = None
    y_range: Sequence[float] | None = None


def new_figure(rows: int, columns: int) -> Figure:
    """A figure for so many panels."""
    return Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows + 0.8), layout='constrained')


def draw_latency_ap(
    report: Report,
    sources: Sequence[Group | str | None],
    front: str,
    keys: Sequence[Line2D] = (),
    notes: Sequence[str] = (),
) -> Figure:
    """Latency against box AP and mask AP, with the Pareto front.

    A source of latencies is a group of measured ones, the setting of published ones, or None for the paper's Table 4.
    """
    columns = min(3, len(sources))
    rows = 2 * math.ceil(len(sources) / columns)
    figure = new_figure(rows, columns)
    labelled, shared_axes = [], {}
    for index, group in enumerate(sources):
        for below, kind in enumerate(('box', 'mask')):
            place = (index // columns * 2 + below) * columns + index % columns + 1
            panel = figure.add_subplot(rows, columns, place, sharey=shared_axes.get(kind))
            shared_axes[kind] = panel
            points = _ap_points(report, group, kind)
            draw_points(panel, points, report)
            best = [points[place] for place in pareto_front([(point.x, point.y) for point in points])]
            panel.plot(*coordinates(best), **_FRONT, drawstyle='steps-post', zorder=1)
            panel.set(xlabel='Latency (ms)', ylabel=f'{kind.capitalize()} AP (%)')
            panel.set_title(panel_title(report, group) + _order(report, group), loc='left', fontsize=9.5)
            labelled.append((panel, points))
    finish(figure, report, labelled, [*keys, Line2D([], [], **_FRONT, label=front)], notes)
    return figure


def flops_points(report: Report, group: Group, flops: Callable[[dict], float]) -> list[RowPoint]:
    """FLOPs against latency."""
    return [
        RowPoint(
            row.marked_label,
            flops(row.complexity) / 1e9,
            record['median_ms'],
            bool(record['flags']),
            row.family,
            y_range=record['quartiles_ms'],
        )
        for row in report.rows
        if (record := row.latencies.get(group)) and row.complexity
    ]


def panel_title(report: Report, source: Group | str | None) -> str:
    """Where the latencies of a panel come from."""
    if not isinstance(source, Group):
        return f'Latency as published: {source or "RTX 2080 Ti, Table 4 of the FasterNet paper"}'
    return '\n'.join(cut(line, 90) for line in (f'Latency measured: {report.place(source)}', source.setting))


def draw_points(panel: Axes, points: Sequence[RowPoint], report: Report) -> None:
    """Draw markers with the quartiles of their latency and the range of their AP, and a line through each family."""
    for family, (colour, marker) in report.styles.items():
        members = [point for point in points if point.family == family]
        panel.plot(*coordinates(members), color=colour, linewidth=1.2, alpha=0.6, zorder=2)
        for point in members:
            ranges = ('xerr', point.x, point.x_range), ('yerr', point.y, point.y_range)
            if bars := {key: [[abs(value - edge)] for edge in edges] for key, value, edges in ranges if edges}:
                panel.errorbar(point.x, point.y, **bars, color=colour, linewidth=1, capsize=2, zorder=3)
            fill = colour if point.filled else 'white'
            panel.plot(point.x, point.y, marker, **_marker_style(marker, colour), markerfacecolor=fill, zorder=4)
    panel.margins(0.09)


def log_axis(axis: Axis) -> None:
    """Put plain numbers on a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter('{x:g}')
    axis.set_minor_formatter(NullFormatter())


def finish(
    figure: Figure,
    report: Report,
    labelled: Sequence[tuple[Axes, Sequence[RowPoint]]],
    keys: Sequence[Line2D] = (),
    notes: Sequence[str] = (),
) -> None:
    """Put legend and notes below, then the labels, which need the panels to have their final places."""
    points = [point for _, drawn in labelled for point in drawn]
    families = {point.family for point in points}
    handles = [
        Line2D([], [], marker=marker, label=family, **_marker_style(marker, colour))
        for family, (colour, marker) in report.styles.items()
        if family in families
    ]
    notes = list(notes)
    if any(point.x_range or point.y_range for point in points):
        notes.append('Measured latencies are medians; the bars are their quartiles.')
    if any('‡' in point.label for point in points):
        notes.append('‡ Pre-trained with a teacher (distilled).')
    if any(point.flagged for point in points):
        notes.append('† Flagged: this latency should be taken again.')
    figure.legend(
        handles=[*handles, *keys],
        loc='outside lower center',
        ncols=6 if len(figure.axes) > 2 else 4,
        title='\n'.join(textwrap.fill(note, 90) for note in notes),
        title_fontsize=9,
        fontsize=9,
        frameon=False,
    )
    figure.draw_without_rendering()
    figure.set_layout_engine('none')
    for panel, drawn in labelled:
        place_labels(panel, drawn)


def _marker_style(marker: str, colour: str) -> dict:
    return dict(color=colour, markeredgewidth=1.4, markersize=9 if marker in 'PX*' else 7)


def _ap_points(report: Report, source: Group | str | None, kind: str) -> list[RowPoint]:
    """A point for each row with latency and AP; both as published where no group is given."""
    points = []
    for row in report.rows:
        if source in row.latencies and row.ap:
            record, ap = row.latencies[source], getattr(row.ap, kind)
            is_measured, ap_range = row.ap.kind == 'measured', (row.measured or {}).get(f'{kind}_range')
            latency, flagged, quartiles = record['median_ms'], bool(record['flags']), record['quartiles_ms']
            points.append(
                RowPoint(row.marked_label, latency, ap, flagged, row.family, is_measured, quartiles, ap_range)
            )
        elif row.published and (latency := _published_latency(row, source)):
            ap = getattr(row.published, f'{kind}_ap')
            points.append(RowPoint(row.marked_label, latency, ap, family=row.family, filled=False))
    return points


def _published_latency(row: ReportRow, source: Group | str | None) -> float | None:
    if source is None:
        return row.published.latency_ms
    return next((speed.image_ms for speed in row.speeds if speed.setting == source), None)


def _order(report: Report, source: Group | str | None) -> str:
    """How far the panel's latencies order the rows as the published ones do."""
    found = report.correlations.get(source)
    if found is None:
        return ''
    return (
        f'\nrank correlation with the published latency, n = {found.count}: '
        f'Spearman ρ = {found.spearman:.2f}, Kendall τ = {found.kendall:.2f}'
    )
