"""The report of a study: tables, pictures and a page, from its records."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.stats import spearmanr

from mmfasternet.benchmark.records.records import of_kind, read_records
from mmfasternet.benchmark.report import page, plots
from mmfasternet.benchmark.report.markdown import bullets, commits, dates, flagged, latency, table
from mmfasternet.benchmark.report.table import Report, collect
from mmfasternet.engine.config import project_root
from mmfasternet.errors import UserError
from mmfasternet.files import write_whole

__all__ = ['Outcome', 'Spread', 'outcomes', 'spread', 'study_page', 'write_study']

SCOPE_TITLES = dict(backbone='backbone', detector='detector without NMS', end2end='end to end')
# Backbones whose FLOPs differ by less are taken as equal.
EQUAL_FLOPS = 0.2
LINES = ('-', '--', ':')
FAINT = dict(fontsize=7.5, color='#888888')

PAGE = """# Backbones under one budget

Drawn from `records.json` by `tools/benchmark/compare_trained.py`; not edited by hand. What it shows and what it
can't is in [the guide](../../compare_trained.md).

Mask R-CNN from random weights with each backbone: {epochs} epochs, tested on `{dataset}`, seeds {seeds}, the
same schedule, optimizer and augmentation for all. Latencies: {machine}, {setting}.
Commits {commits}, {dates}.

![Latency against AP, with the range of the seeds](study.png)

{figures}

AP in percent points: the mean of the seeds, and in brackets the lowest and the highest. FLOPs are multiply-adds of
one picture. Latencies are medians in ms. {flags}

## Can they be told apart?

{verdict}

## Learning curves

![Training loss and box AP over the training](curves.png)

## Do equal FLOPs mean equal latency?

![FLOPs against latency, and the multiply-adds per second that come of them](flops_latency.png)

{beside}{flops}
"""


BESIDE = """The lower panels are those of the comparison, on larger pictures, at another time: compare within a panel.

"""


@dataclass(frozen=True)
class Outcome:
    """What the seeds of one backbone came to.

    Args:
        label: What the backbone is called.
        box: Box AP of each seed in percent points.
        mask: Mask AP of each seed in percent points.
    """

    label: str
    box: tuple[float, ...]
    mask: tuple[float, ...]


@dataclass(frozen=True)
class Spread:
    """Whether AP tells backbones apart.

    Args:
        across: Highest less lowest mean AP of a backbone, in percent points.
        seeds: The most that seeds of one backbone lie apart, in percent points.
        overlapping: Pairs of backbones whose seeds overlap.
    """

    across: float
    seeds: float
    overlapping: list[tuple[str, str]]

    @property
    def ratio(self) -> float:
        """How many times the range across backbones is the one between seeds."""
        return self.across / self.seeds if self.seeds else float('inf')


def outcomes(document: dict) -> list[Outcome]:
    """The AP of all seeds of each backbone that was tested.

    Args:
        document: From :func:`~mmfasternet.benchmark.comparison.trained.run_study`.

    Returns:
        The backbones in the order of their records.

    Example:
        >>> outcomes(dict(records=[dict(kind='ap', label='A', box_ap=30.0, mask_ap=28.0)]))
        [Outcome(label='A', box=(30.0,), mask=(28.0,))]
    """
    return [
        Outcome(records[0]['label'], *(tuple(record[key] for record in records) for key in ('box_ap', 'mask_ap')))
        for records in by_backbone(document)
    ]


def by_backbone(document: dict) -> list[list[dict]]:
    """The records of AP, those of one backbone's seeds together."""
    seeds: dict[str, list[dict]] = {}
    for record in of_kind(document, 'ap'):
        seeds.setdefault(record['label'], []).append(record)
    return list(seeds.values())


def spread(found: Sequence[Outcome], kind: str = 'box') -> Spread | None:
    """The range of AP across backbones beside the range between seeds.

    Args:
        found: From :func:`outcomes`.
        kind: 'box' or 'mask'. Defaults to 'box'.

    Returns:
        The spread, or None with less than two backbones or seeds.

    Example:
        >>> spread([Outcome('A', (30.0, 31.0), ()), Outcome('B', (40.0, 38.0), ())])
        Spread(across=8.5, seeds=2.0, overlapping=[])
    """
    values = {outcome.label: getattr(outcome, kind) for outcome in found}
    if len(values) < 2 or max(map(len, values.values())) < 2:
        return None
    means = [mean(seeds) for seeds in values.values()]
    overlapping = [
        (one, other)
        for (one, a), (other, b) in combinations(values.items(), 2)
        if min(a) <= max(b) and min(b) <= max(a)
    ]
    return Spread(max(means) - min(means), max(max(seeds) - min(seeds) for seeds in values.values()), overlapping)


def write_study(document: dict, out_dir: str | Path) -> dict[str, Path]:
    """Write all that there is to see of a study, each file whole.

    Args:
        document: From :func:`~mmfasternet.benchmark.comparison.trained.run_study`.
        out_dir: Folder of the report.

    Returns:
        Name → path of study.md, index.html, and study, curves and flops_latency as .png and .svg.

    Raises:
        UserError: If there is no AP or no latency yet, or a file can't be written.
    """
    if not of_kind(document, 'ap') or not of_kind(document, 'latency'):
        raise UserError(f'nothing to draw in {out_dir} yet: no run is finished; run the study without --report-only')
    report = collect([merge_seeds(document)], known=())
    figures = dict(study=draw_study(report), curves=draw_curves(document), flops_latency=draw_throughput(document))
    files = {
        f'{name}.{form}': plots.encode(figure, form) for name, figure in figures.items() for form in ('png', 'svg')
    }
    files |= {'study.md': study_page(document).encode(), 'index.html': page.render_page(report).encode()}
    return {name: write_whole(Path(out_dir, name), content) for name, content in files.items()}


def merge_seeds(document: dict) -> dict:
    """The document with one AP for each backbone, the mean of its seeds, and their range beside it."""
    merged = []
    for records in by_backbone(document):
        seeds = ', '.join(str(record['seed']) for record in records)
        entry = dict(records[-1], source=f'mean of the seeds {seeds}' if len(records) > 1 else f'seed {seeds}')
        for key in [key for key in entry if key.startswith(('box_ap', 'mask_ap'))]:
            entry[key] = mean(record[key] for record in records)
        for kind in ('box', 'mask'):
            values = [record[f'{kind}_ap'] for record in records]
            entry[f'{kind}_range'] = [min(values), max(values)]
        del entry['curves']
        merged.append(entry)
    return dict(document, records=[record for record in document['records'] if record['kind'] != 'ap'] + merged)


def study_page(document: dict) -> str:
    """The study as Markdown.

    Args:
        document: From :func:`~mmfasternet.benchmark.comparison.trained.run_study`.

    Returns:
        The text.
    """
    tested, machine = of_kind(document, 'ap'), document['machine']
    latencies = of_kind(document, 'latency')
    first = latencies[0]
    height, width = first['shape']
    return PAGE.format(
        epochs=tested[0]['epochs'],
        dataset=tested[0]['dataset'],
        seeds=', '.join(map(str, sorted({record['seed'] for record in tested}))),
        machine=machine['label'],
        setting=f'{first["path"]} path, {first["precision"]}, batch {first["batch"]}, {height} × {width} pixels',
        commits=commits(document['records']),
        dates=dates(document['records']),
        figures=figures_table(document),
        flags=flagged(latencies),
        verdict='\n\n'.join(verdict(outcomes(document), kind) for kind in ('box', 'mask')),
        beside=BESIDE if comparison() else '',
        flops=flops_text(document),
    )


def figures_table(document: dict) -> str:
    counts = {record['label']: record for record in of_kind(document, 'complexity')}
    latencies = {(record['label'], record['scope']): record for record in of_kind(document, 'latency')}
    rows = []
    for outcome in outcomes(document):
        count = counts[outcome.label]
        rows.append(
            [
                outcome.label,
                with_range(outcome.box),
                with_range(outcome.mask),
                f'{count["parts"]["backbone"]["params"] / 1e6:.1f}',
                f'{count["params"] / 1e6:.1f}',
                f'{count["parts"]["backbone"]["flops_full"] / 1e9:.2f}',
                f'{count["flops_full"] / 1e9:.2f}',
                *(latency(latencies[outcome.label, scope]) for scope in SCOPE_TITLES),
            ]
        )
    head = ['Backbone', 'box AP', 'mask AP', 'M parameters', 'of the detector', 'G FLOPs', 'of the detector']
    return table([*head, *(f'ms, {title}' for title in SCOPE_TITLES.values())], rows)


def with_range(values: Sequence[float]) -> str:
    return f'{mean(values):.1f}' + (f' ({min(values):.1f} – {max(values):.1f})' if len(values) > 1 else '')


def verdict(found: Sequence[Outcome], kind: str) -> str:
    """Whether the seeds' spread lets the backbones be told apart, in words."""
    result = spread(found, kind)
    if result is None:
        return f'{kind.capitalize()} AP: with one seed there is no spread to judge by.'
    pairs = '; '.join(f'{one} and {other}' for one, other in result.overlapping)
    enough = 'at least' if result.ratio >= 3 else '**less than**'
    shared = f'Seeds overlap, so that nothing is said of the order, for {pairs}.' if pairs else 'No two overlap.'
    # One backbone that learns nothing would make any range wide.
    lowest = min(found, key=lambda outcome: mean(getattr(outcome, kind)))
    rest = spread([outcome for outcome in found if outcome is not lowest], kind)
    others = f' Without {lowest.label}, the lowest, it is {rest.ratio:.1f}.' if rest else ''
    if rest and rest.ratio < 3 <= result.ratio:
        others = (
            f' That is due to {lowest.label} alone: without it the ratio is {rest.ratio:.1f}, **less than 3**, and '
            'the others can not all be told apart.'
        )
    return (
        f'{kind.capitalize()} AP: the means of the backbones range over {result.across:.1f} points, the seeds of one '
        f'backbone over {result.seeds:.1f} at most. The ratio is {result.ratio:.1f}, {enough} the 3 that tell '
        f'backbones apart from luck.{others} {shared}'
    )


@matplotlib.rc_context(plots.STYLE)
def draw_study(report: Report) -> Figure:
    """Latency of each scope against box AP and mask AP, with the range of the seeds and the Pareto front."""
    order = {scope: place for place, scope in enumerate(SCOPE_TITLES)}
    groups = sorted(report.groups, key=lambda group: order[group.scope])
    figure = plots.new_figure(2, len(groups))
    labelled = []
    for column, group in enumerate(groups):
        for below, kind in enumerate(('box', 'mask')):
            panel = figure.add_subplot(2, len(groups), below * len(groups) + column + 1)
            points = plots.ap_points(report, group, kind)
            plots.draw_points(panel, points, report)
            for point in points:
                low, high = point.row.measured[f'{kind}_range']
                colour = plots.family_styles(report)[point.row.family][0]
                panel.errorbar(
                    point.x, point.y, yerr=[[point.y - low], [high - point.y]], color=colour, linewidth=1, capsize=2
                )
            plots.draw_front(panel, points)
            panel.set(xlabel='Latency (ms)', ylabel=f'{kind.capitalize()} AP (%)')
            panel.set_title(plots.panel_title(report, group), loc='left', fontsize=9.5)
            labelled.append((panel, points))
    keys = [Line2D([], [], linestyle='--', linewidth=1, color='#555555', label='Pareto front of the means')]
    notes = ['AP is the mean of the seeds; its bars are the lowest and the highest.']
    plots.finish(figure, report, labelled, keys, notes)
    return figure


@matplotlib.rc_context(plots.STYLE)
def draw_curves(document: dict) -> Figure:
    """Training loss and box AP over the training: the mean of the seeds in a band of their range."""
    figure = Figure(figsize=(11, 4.6), layout='constrained')
    panels = figure.subplots(1, 2)
    report, members = collect([document], known=()), Counter()
    styles, families = plots.family_styles(report), {row.name: row.family for row in report.rows}
    for records in by_backbone(document):
        curves, family = [record['curves'] for record in records], families[records[0]['row']]
        colour, marker = styles[family]
        # Backbones of a family share its colour, and differ in their lines.
        line = LINES[members[family] % len(LINES)]
        members[family] += 1
        for panel, key in zip(panels, ('loss', 'box_ap'), strict=True):
            # A seed that was stopped and gone on with may lack a step.
            steps = sorted(set.intersection(*({step for step, _ in curve[key]} for curve in curves)))
            values = np.array([[dict(map(tuple, curve[key]))[step] for step in steps] for curve in curves])
            style = dict(color=colour, linestyle=line, label=records[0]['label'])
            panel.plot(steps, values.mean(axis=0), marker=marker if key == 'box_ap' else None, **style)
            panel.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    panels[0].set(xlabel='Iteration', ylabel='Training loss, mean of the last 50 iterations')
    panels[1].set(xlabel='Epoch', ylabel='Box AP (%) on the pictures of validation', ylim=(0, None))
    panels[1].xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*panels[1].get_legend_handles_labels(), loc='outside lower center', ncols=4, frameon=False)
    return figure


@matplotlib.rc_context(plots.STYLE)
def draw_throughput(document: dict) -> Figure:
    """FLOPs of backbones against their latency, and the multiply-adds per second that come of the two."""
    report = collect([document, *comparison()], known=())
    groups = [group for group in report.groups if group.scope == 'backbone']
    figure = Figure(figsize=(13, 5.2 * len(groups)), layout='constrained')
    labelled = []
    for line, group in enumerate(groups):
        points = [
            plots.Point(row, flops, record['median_ms'], True, bool(record['flags']), record['quartiles_ms'])
            for row in report.rows
            if (record := row.latencies.get(group)) and row.complexity
            for flops in [row.complexity['parts']['backbone']['flops_full'] / 1e9]
        ]
        scatter, bars = (figure.add_subplot(len(groups), 2, 2 * line + place) for place in (1, 2))
        plots.draw_points(scatter, points, report, 'yerr')
        scatter.set(xscale='log', yscale='log', xlabel='FLOPs of the backbone (G multiply-adds)', ylabel='Latency (ms)')
        scatter.set_title(plots.panel_title(report, group), loc='left', fontsize=9.5)
        draw_equal_throughput(scatter, points)
        draw_throughput_bars(bars, points, report)
        labelled.append((scatter, points))
    plots.finish(figure, report, labelled, [], [])
    return figure


def draw_equal_throughput(panel: Axes, points: list[plots.Point]) -> None:
    """Lines along which as many multiply-adds are done per second, and plain numbers on both axes."""
    (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
    for rate in (10, 20, 40, 80):
        ends = np.array([left, right])
        panel.plot(ends, ends / rate * 1000, color='#bbbbbb', linewidth=0.8, linestyle=':', zorder=1)
        # The rate stands where the line leaves the panel, or where it enters, whichever is further from all points.
        leaves, enters = min(right, high * rate / 1000), max(left, low * rate / 1000)
        if room(leaves, rate, points) >= room(enters, rate, points):
            x, style = leaves, dict(xytext=(-2, -2), ha='right', va='top')
        else:
            x, style = enters, dict(xytext=(2, 2), ha='left', va='bottom')
        panel.annotate(f'{rate} G/s', (x, x / rate * 1000), textcoords='offset points', **style, **FAINT)
    panel.set(xlim=(left, right), ylim=(low, high))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter('{x:g}')
        axis.set_minor_formatter(NullFormatter())


def room(x: float, rate: float, points: list[plots.Point]) -> float:
    """How far the nearest point is from where a line of equal throughput has so many FLOPs, in factors of both axes."""
    y = x / rate * 1000
    return min(abs(np.log(point.x / x)) + abs(np.log(point.y / y)) for point in points)


def comparison() -> list[dict]:
    """The records of the comparison, whose backbones stand beside the study's; none without a clone."""
    path = project_root() / 'docs/results/compare/records.json'
    return [read_records(path)] if path.is_file() else []


def draw_throughput_bars(panel: Axes, points: list[plots.Point], report: Report) -> None:
    ordered = sorted(points, key=throughput)
    colours = [plots.family_styles(report)[point.row.family][0] for point in ordered]
    bars = panel.barh([point.row.label for point in ordered], list(map(throughput, ordered)), color=colours)
    panel.bar_label(bars, fmt='%.0f', padding=2, fontsize=8.5)
    panel.set(xlabel='Achieved G multiply-adds per second')
    panel.grid(axis='y', visible=False)


def throughput(point: plots.Point) -> float:
    """G multiply-adds per second."""
    return point.x / point.y * 1000


def flops_text(document: dict) -> str:
    """What the backbones' FLOPs say of their latencies, in words."""
    counts = {record['label']: record['parts']['backbone']['flops_full'] for record in of_kind(document, 'complexity')}
    found = {record['label']: record for record in of_kind(document, 'latency') if record['scope'] == 'backbone'}
    times = {label: record['median_ms'] for label, record in found.items()}
    labels = [label for label in counts if label in times]
    achieved = {label: counts[label] / times[label] / 1e6 for label in labels}
    slowest, fastest = min(labels, key=achieved.get), max(labels, key=achieved.get)
    lines = [
        f'Backbones alone: {slowest} achieves {achieved[slowest]:.0f} G multiply-adds per second and {fastest} '
        f'{achieved[fastest]:.0f}, {achieved[fastest] / achieved[slowest]:.1f} times as many.'
    ]
    if len(labels) > 2:
        order = spearmanr([counts[label] for label in labels], [times[label] for label in labels]).statistic
        lines.append(f"Spearman's ρ between FLOPs and latency is {order:.2f} (n = {len(labels)}).")
    near = [
        (one, other)
        for one, other in combinations(labels, 2)
        if max(counts[one], counts[other]) <= (1 + EQUAL_FLOPS) * min(counts[one], counts[other])
    ]
    for one, other in near:
        quick, slow = sorted((one, other), key=times.get)
        lines.append(
            f'{quick} and {slow}, with {counts[quick] / 1e9:.2f} and {counts[slow] / 1e9:.2f} G multiply-adds, take '
            f'{latency(found[quick])} and {latency(found[slow])} ms: {times[slow] / times[quick]:.2f} times as long'
            + (', and their quartiles overlap.' if overlap(found[quick], found[slow]) else '.')
        )
    if not near:
        lines.append(f'No two backbones have FLOPs within {EQUAL_FLOPS:.0%} of each other.')
    return bullets(lines)


def overlap(quick: dict, slow: dict) -> bool:
    """Whether the quartiles of two latencies leave their order open."""
    return quick['quartiles_ms'][1] >= slow['quartiles_ms'][0]
