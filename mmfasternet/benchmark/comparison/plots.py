"""Figures of both comparisons: latency against AP, FLOPs against latency, and learning curves."""

import math
from collections import Counter
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmfasternet.benchmark.records import SCOPES
from mmfasternet.benchmark.report.style import STYLE

from .collect import Group, Report, ReportRow
from .panels import (
    RowPoint,
    draw_latency_ap,
    draw_points,
    finish,
    flops_points,
    log_axis,
    new_figure,
    panel_title,
)
from .provenance import plotted_settings
from .seeds import by_backbone

__all__ = [
    'draw_comparison',
    'draw_curves',
    'draw_flops',
    'draw_published',
    'draw_throughput',
    'draw_trained',
    'backbone_points',
    'throughput',
]

# An axis whose values differ by a larger factor is logarithmic.
_WIDE = 12
_LINES = ('-', '--', ':')
_FAINT = dict(fontsize=7.5, color='#888888')


@matplotlib.rc_context(STYLE)
def draw_comparison(report: Report) -> Figure:
    """Latency against box AP and mask AP: as published, and beside it as each group of latencies has it."""
    reasons: dict[str, list[str]] = {}
    for row in report.rows:
        if reason := _why_not_drawn(row):
            reasons.setdefault(reason, []).append(row.marked_label)
    notes = [f'Not drawn, since {reason}: {", ".join(labels)}.' for reason, labels in reasons.items()]
    circle = dict(linestyle='', marker='o', color='#555555')
    keys = [
        Line2D([], [], **circle, markerfacecolor='white', label='AP published'),
        Line2D([], [], **circle, label='AP measured'),
    ]
    return draw_latency_ap(report, [None, *report.groups], 'Pareto front', keys, notes)


def _why_not_drawn(row: ReportRow) -> str | None:
    if not row.ap:
        return 'no AP is known'
    if row.latencies or (row.published and row.published.latency_ms):
        return None
    return 'no latency was measured' if row.config else 'there is no config to measure'


@matplotlib.rc_context(STYLE)
def draw_published(report: Report) -> Figure | None:
    """Latencies of backbones on other devices against box AP and mask AP, both as published."""
    settings = plotted_settings(report.rows)
    if not settings:
        return None
    notes = ['Published figures alone: nothing here was measured by this project.']
    return draw_latency_ap(report, settings, 'Pareto front', notes=notes)


@matplotlib.rc_context(STYLE)
def draw_flops(report: Report) -> Figure | None:
    """FLOPs, counted as the FasterNet paper does, against each group of measured latencies."""
    found = [(group, flops_points(report, group, lambda count: count['flops_paper'])) for group in report.groups]
    panels = [(group, points) for group, points in found if points]
    if not panels:
        return None
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(rows, columns)
    labelled = []
    for index, (group, points) in enumerate(panels, 1):
        panel = figure.add_subplot(rows, columns, index)
        draw_points(panel, points, report)
        panel.set(xlabel="FLOPs (G multiply-adds of a detector, the paper's count)", ylabel='Latency (ms)')
        latencies = [point.y for point in points]
        if max(latencies) > _WIDE * min(latencies):
            panel.set_yscale('log')
            log_axis(panel.yaxis)
        else:
            panel.set_ylim(bottom=0)
        panel.set_title(panel_title(report, group), loc='left', fontsize=9.5)
        labelled.append((panel, points))
    finish(figure, report, labelled)
    return figure


@matplotlib.rc_context(STYLE)
def draw_trained(report: Report) -> Figure:
    """Latency of each scope against box AP and mask AP, with the range of the seeds and the Pareto front."""
    groups = sorted(report.groups, key=lambda group: SCOPES.index(group.scope))
    notes = ['AP is the mean of the seeds; its bars are the lowest and the highest.']
    return draw_latency_ap(report, groups, 'Pareto front of the means', notes=notes)


@matplotlib.rc_context(STYLE)
def draw_curves(report: Report, tested: Sequence[dict]) -> Figure:
    """Training loss and box AP over the training: the mean of the seeds in a band of their range."""
    figure = Figure(figsize=(11, 4.6), layout='constrained')
    panels = figure.subplots(1, 2)
    families, members = {row.name: row.family for row in report.rows}, Counter()
    for label, records in by_backbone(tested).items():
        curves, family = [record['curves'] for record in records], families[records[0]['row']]
        colour, marker = report.styles[family]
        # Backbones of a family share its colour, and differ in their lines.
        line = _LINES[members[family] % len(_LINES)]
        members[family] += 1
        for panel, key in zip(panels, ('loss', 'box_ap'), strict=True):
            # A seed that was interrupted and resumed may lack a step.
            steps = sorted(set.intersection(*({step for step, _ in curve[key]} for curve in curves)))
            values = np.array([[dict(map(tuple, curve[key]))[step] for step in steps] for curve in curves])
            style = dict(color=colour, linestyle=line, label=label)
            panel.plot(steps, values.mean(axis=0), marker=marker if key == 'box_ap' else None, **style)
            panel.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    panels[0].set(xlabel='Iteration', ylabel='Training loss, mean of the last 50 iterations')
    panels[1].set(xlabel='Epoch', ylabel='Box AP (%) on the validation images', ylim=(0, None))
    panels[1].xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*panels[1].get_legend_handles_labels(), loc='outside lower center', ncols=4, frameon=False)
    return figure


@matplotlib.rc_context(STYLE)
def draw_throughput(report: Report) -> Figure:
    """FLOPs of backbones against their latency, and the multiply-adds per second that result."""
    groups = [group for group in report.groups if group.scope == 'backbone']
    figure = Figure(figsize=(13, 5.2 * len(groups)), layout='constrained')
    labelled = []
    for line, group in enumerate(groups):
        points = backbone_points(report, group)
        scatter, bars = (figure.add_subplot(len(groups), 2, 2 * line + place) for place in (1, 2))
        draw_points(scatter, points, report)
        scatter.set(xscale='log', yscale='log', xlabel='FLOPs of the backbone (G multiply-adds)', ylabel='Latency (ms)')
        scatter.set_title(panel_title(report, group), loc='left', fontsize=9.5)
        _draw_equal_throughput(scatter, points)
        _draw_throughput_bars(bars, points, report)
        labelled.append((scatter, points))
    finish(figure, report, labelled)
    return figure


def backbone_points(report: Report, group: Group) -> list[RowPoint]:
    """FLOPs of the backbone alone against latency."""
    return flops_points(report, group, lambda count: count['parts']['backbone']['flops_full'])


def _draw_equal_throughput(panel: Axes, points: Sequence[RowPoint]) -> None:
    """Lines along which as many multiply-adds are done per second, and plain numbers on both axes."""
    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    for rate in (10, 20, 40, 80):
        ends = np.array([left, right])
        panel.plot(ends, ends / rate * 1000, color='#bbbbbb', linewidth=0.8, linestyle=':', zorder=1)
        # The rate stands where the line leaves the panel, or where it enters, whichever is further from all points.
        leaves, enters = min(right, high * rate / 1000), max(left, low * rate / 1000)
        if _room(leaves, rate, points) >= _room(enters, rate, points):
            x, style = leaves, dict(xytext=(-2, -2), ha='right', va='top')
        else:
            x, style = enters, dict(xytext=(2, 2), ha='left', va='bottom')
        panel.annotate(f'{rate} G/s', (x, x / rate * 1000), textcoords='offset points', **style, **_FAINT)
    panel.set(xlim=(left, right), ylim=(low, high))
    for axis in (panel.xaxis, panel.yaxis):
        log_axis(axis)


def _room(x: float, rate: float, points: Sequence[RowPoint]) -> float:
    """How far the nearest point is from where a line of equal throughput has so many FLOPs, in factors of both axes."""
    y = x / rate * 1000
    return min(abs(np.log(point.x / x)) + abs(np.log(point.y / y)) for point in points)


def _draw_throughput_bars(panel: Axes, points: Sequence[RowPoint], report: Report) -> None:
    ordered = sorted(points, key=throughput)
    colours = [report.styles[point.family][0] for point in ordered]
    bars = panel.barh([point.label for point in ordered], list(map(throughput, ordered)), color=colours)
    panel.bar_label(bars, fmt='%.0f', padding=2, fontsize=8.5)
    panel.set(xlabel='Achieved G multiply-adds per second')
    panel.grid(axis='y', visible=False)


def throughput(point: RowPoint) -> float:
    """G multiply-adds per second."""
    return point.x / point.y * 1000
