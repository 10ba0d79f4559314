"""Pictures of a report: latency against AP, published beside measured, and FLOPs against latency."""

import io
import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmfasternet.benchmark.published.rows import ROWS, TRAINED_ROWS

from .table import Group, Report, ReportRow, pareto_front, rank_correlation

__all__ = ['draw_comparison', 'draw_flops', 'encode', 'family_styles']

# Okabe and Ito's colours for all kinds of colour vision, their yellow darkened for a white ground, a grey, and Tol's
# wine.
COLOURS = ('#D55E00', '#0072B2', '#56B4E9', '#009E73', '#CC79A7', '#E69F00', '#000000', '#8F7F00', '#777777', '#882255')
MARKERS = ('o', 's', 'D', '^', 'v', 'P', 'X', '*', 'p', 'h')
PANEL = (6.6, 4.8)  # inches
# Texts come from files: a dollar is a dollar.
STYLE = {
    'text.parse_math': False,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': '#e8e8e8',
    'axes.axisbelow': True,
}
GROUND = dict(facecolor='white', edgecolor='none', alpha=0.75, pad=0.5)
LABEL = dict(fontsize=8.5, color='#222222', ha='left', va='bottom', bbox=GROUND, zorder=6)
# Where a label may stand: directions around its point, and distances from it in points.
DIRECTIONS = [np.array([math.cos(angle), math.sin(angle)]) for angle in np.arange(16) * math.pi / 8]
DISTANCES = (7, 14, 24, 36)
GAP = 4  # points between two labels


@dataclass(frozen=True)
class Point:
    """A row in a panel, with the quartiles of its latency (ms) if that was measured."""

    row: ReportRow
    x: float
    y: float
    filled: bool
    flagged: bool = False
    quartiles: tuple[float, float] | None = None


def family_styles(report: Report) -> dict[str, tuple[str, str]]:
    """Colour and marker of each family, alike in all pictures.

    Args:
        report: From :func:`~mmfasternet.benchmark.report.table.collect`.

    Returns:
        Family → colour and matplotlib's marker.

    Example:
        >>> family_styles(collect([]))['FasterNet']
        ('#D55E00', 'o')
    """
    drawn = dict.fromkeys(row.family for row in report.rows)
    families = dict.fromkeys([*(row.family for row in (*ROWS, *TRAINED_ROWS)), *drawn])
    return {
        family: (COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])
        for index, family in enumerate(families)
        if family in drawn
    }


@matplotlib.rc_context(STYLE)
def draw_comparison(report: Report) -> Figure:
    """Latency against box AP and mask AP: as published, and beside it as each group of latencies has it.

    Args:
        report: From :func:`~mmfasternet.benchmark.report.table.collect`.

    Returns:
        The figure: a panel for box AP over one for mask AP for each source of latencies, three sources abreast.

    Example:
        >>> draw_comparison(collect([])).savefig('comparison.png')
    """
    sources = [None, *report.groups]
    columns = min(3, len(sources))
    rows = 2 * math.ceil(len(sources) / columns)
    figure = new_figure(rows, columns)
    labelled, shared_axes = [], {}
    for index, group in enumerate(sources):
        for below, kind in enumerate(('box', 'mask')):
            place = (index // columns * 2 + below) * columns + index % columns + 1
            panel = figure.add_subplot(rows, columns, place, sharey=shared_axes.get(kind))
            shared_axes[kind] = panel
            points = ap_points(report, group, kind)
            draw_points(panel, points, report)
            draw_front(panel, points)
            panel.set(xlabel='Latency (ms)', ylabel=f'{kind.capitalize()} AP (%)')
            panel.set_title(panel_title(report, group) + order_note(report, group), loc='left', fontsize=9.5)
            labelled.append((panel, points))
    nameless = [row.label for row in report.rows if not row.ap]
    notes = [f'Not drawn, as no AP is known: {", ".join(nameless)}.'] if nameless else []
    keys = [
        Line2D([], [], linestyle='', marker='o', color='#555555', markerfacecolor='white', label='AP published'),
        Line2D([], [], linestyle='', marker='o', color='#555555', label='AP measured'),
        Line2D([], [], linestyle='--', linewidth=1, color='#555555', label='Pareto front'),
    ]
    finish(figure, report, labelled, keys, notes)
    return figure


@matplotlib.rc_context(STYLE)
def draw_flops(report: Report) -> Figure | None:
    """FLOPs, counted as the FasterNet paper does, against each group of measured latencies.

    Args:
        report: From :func:`~mmfasternet.benchmark.report.table.collect`.

    Returns:
        The figure, a panel for each group, or None if no row has both.

    Example:
        >>> draw_flops(collect([])) is None
        True
    """
    panels = [(group, points) for group in report.groups if (points := flops_points(report, group))]
    if not panels:
        return None
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(rows, columns)
    labelled = []
    for index, (group, points) in enumerate(panels, 1):
        panel = figure.add_subplot(rows, columns, index)
        draw_points(panel, points, report, 'yerr')
        panel.set(xlabel="FLOPs (G multiply-adds of a detector, the paper's count)", ylabel='Latency (ms)')
        panel.set_ylim(bottom=0)
        panel.set_title(panel_title(report, group), loc='left', fontsize=9.5)
        labelled.append((panel, points))
    finish(figure, report, labelled, [], [])
    return figure


def encode(figure: Figure, form: str) -> bytes:
    """A figure as the content of a file; the same figure gives the same bytes.

    Args:
        figure: Any figure.
        form: 'png' or 'svg'.

    Returns:
        The content.

    Example:
        >>> encode(draw_comparison(collect([])), 'png')[1:4]
        b'PNG'
    """
    file = io.BytesIO()
    with matplotlib.rc_context({'svg.hashsalt': 'mmfasternet'}):
        figure.savefig(file, format=form, dpi=150, metadata=dict(Date=None) if form == 'svg' else None)
    return file.getvalue()


def ap_points(report: Report, group: Group | None, kind: str) -> list[Point]:
    """Latency against AP; both as published where no group is given."""
    points = []
    for row in report.rows:
        if group is None and row.published and row.published.latency_ms:
            points.append(Point(row, row.published.latency_ms, getattr(row.published, f'{kind}_ap'), False))
        elif group in row.latencies and row.ap:
            record, ap = row.latencies[group], getattr(row.ap, kind)
            measured, flagged = row.ap.kind == 'measured', bool(record['flags'])
            points.append(Point(row, record['median_ms'], ap, measured, flagged, record['quartiles_ms']))
    return points


def flops_points(report: Report, group: Group) -> list[Point]:
    points = []
    for row in report.rows:
        if row.complexity and group in row.latencies:
            flops, record = row.complexity['flops_paper'] / 1e9, row.latencies[group]
            points.append(Point(row, flops, record['median_ms'], True, bool(record['flags']), record['quartiles_ms']))
    return points


def new_figure(rows: int, columns: int) -> Figure:
    return Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows + 0.8), layout='constrained')


def panel_title(report: Report, group: Group | None) -> str:
    if group is None:
        return 'Latency as published: RTX 2080 Ti, Table 4 of the FasterNet paper'
    machine = report.machines[group.machine]['label']
    lines = [f'Latency measured: {machine}', report.setting(group)]
    return '\n'.join(cut(line, 90) for line in lines)


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else f'{text[: length - 1]}…'


def order_note(report: Report, group: Group | None) -> str:
    """How far the panel's latencies order the rows as the published ones do."""
    found = group and rank_correlation(report, group)
    if found is None:
        return ''
    return (
        f'\nranks against the published latency, n = {found.count}: '
        f'Spearman ρ = {found.spearman:.2f}, Kendall τ = {found.kendall:.2f}'
    )


def draw_points(panel: Axes, points: list[Point], report: Report, errors: str = 'xerr') -> None:
    """Markers with the quartiles of their latency as ``errors``, and a line through each family."""
    for family, (colour, marker) in family_styles(report).items():
        members = [point for point in points if point.row.family == family]
        panel.plot(*coordinates(members), color=colour, linewidth=1.2, alpha=0.6, zorder=2)
        for point in members:
            if point.quartiles:
                median = point.x if errors == 'xerr' else point.y
                spread = [[abs(median - edge)] for edge in point.quartiles]
                panel.errorbar(point.x, point.y, **{errors: spread}, color=colour, linewidth=1, capsize=2, zorder=3)
            fill = colour if point.filled else 'white'
            panel.plot(point.x, point.y, marker, **marker_style(marker, colour), markerfacecolor=fill, zorder=4)
    panel.margins(0.09)


def draw_front(panel: Axes, points: list[Point]) -> None:
    """A line of steps through the points that no other beats in both latency and AP."""
    front = [points[place] for place in pareto_front([(point.x, point.y) for point in points])]
    panel.plot(*coordinates(front), linestyle='--', color='#555555', linewidth=1, drawstyle='steps-post', zorder=1)


def marker_style(marker: str, colour: str) -> dict:
    return dict(color=colour, markeredgewidth=1.4, markersize=9 if marker in 'PX*' else 7)


def coordinates(points: Iterable[Point]) -> tuple[list[float], list[float]]:
    return [point.x for point in points], [point.y for point in points]


def finish(
    figure: Figure,
    report: Report,
    labelled: list[tuple[Axes, list[Point]]],
    keys: list[Line2D],
    notes: list[str],
) -> None:
    """Legend and notes below, then the labels, which need the panels to have their final places."""
    points = [point for _, points in labelled for point in points]
    families = {point.row.family for point in points}
    handles = [
        Line2D([], [], marker=marker, label=family, **marker_style(marker, colour))
        for family, (colour, marker) in family_styles(report).items()
        if family in families
    ]
    if any(point.quartiles for point in points):
        notes = [*notes, 'Measured latencies are medians; the bars are their quartiles.']
    if any(point.flagged for point in points):
        notes = [*notes, '† Flagged: this latency should be taken again.']
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


def place_labels(panel: Axes, points: list[Point]) -> None:
    """Put each label where it covers the least of other labels, markers and lines."""
    scale = panel.figure.dpi / 72
    pixels = panel.transData.transform(np.reshape([(point.x, point.y) for point in points], (-1, 2)))
    lines = np.concatenate([along(panel, line) for line in panel.lines])
    # Left, bottom, right and top in pixels.
    taken = np.concatenate([around(pixels, 6 * scale), around(lines, 2 * scale)])
    weights = np.repeat([4.0, 1.0], [len(pixels), len(lines)])
    for point, pixel in sorted(zip(points, pixels, strict=True), key=lambda pair: -pair[1][1]):
        name = cut(point.row.label, 32) + (' †' if point.flagged else '')
        sample = panel.text(0, 0, name, **LABEL)
        extent = sample.get_window_extent()
        sample.remove()
        boxes = places(pixel, extent.width + GAP * scale, extent.height, scale)
        costs = shared(boxes, taken) @ weights + np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) / 2 - pixel, axis=1)
        costs += 20 * (extent.width * extent.height - shared(boxes, panel.bbox.extents[None])[:, 0])
        best = boxes[costs.argmin()]
        taken, weights = np.vstack([taken, best]), np.append(weights, 6)
        panel.annotate(
            name,
            (point.x, point.y),
            (best[:2] - pixel) / scale + [GAP / 2, 0],
            textcoords='offset points',
            arrowprops=dict(arrowstyle='-', color='#777777', linewidth=0.7, shrinkA=0, shrinkB=4),
            **LABEL,
        )


def along(panel: Axes, line: Line2D, step: float = 5) -> np.ndarray:
    """Pixels that a line passes."""
    corners = panel.transData.transform(np.column_stack(line.get_data()).astype(float).reshape(-1, 2))
    parts = [
        np.linspace(start, end, 2 + int(np.hypot(*(end - start)) / step))
        for start, end in zip(corners, corners[1:], strict=False)
    ]
    return np.concatenate([np.empty((0, 2)), *parts])


def around(pixels: np.ndarray, half: float) -> np.ndarray:
    return np.hstack([pixels - half, pixels + half])


def places(pixel: np.ndarray, width: float, height: float, scale: float) -> np.ndarray:
    """Boxes of that size all around a pixel, the nearest first."""
    corners = [
        pixel + distance * scale * direction - [width, height] * (1 - direction) / 2
        for distance in DISTANCES
        for direction in DIRECTIONS
    ]
    return np.hstack([corners, np.add(corners, [width, height])])


def shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Area that each of the boxes shares with each of the others."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return (high - low).clip(0).prod(axis=2)
