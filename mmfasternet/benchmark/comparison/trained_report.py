"""The report of the comparison with AP trained here: the page in Markdown, figures and the HTML page."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import mean

from scipy.stats import spearmanr

from mmfasternet.benchmark.measure.turns import is_tie
from mmfasternet.benchmark.records import SCOPES, Records
from mmfasternet.benchmark.report.labels import coordinates
from mmfasternet.benchmark.report.markdown import bullets, commits, dates, escape_records, flagged, latency, table
from mmfasternet.benchmark.report.style import encode
from mmfasternet.errors import UserError
from mmfasternet.files import write_file

from .ahead import not_ahead
from .collect import Group, Report, collect
from .page import render_page
from .plots import backbone_points, draw_curves, draw_throughput, draw_trained, throughput
from .seeds import by_backbone, verdict, with_range

__all__ = ['merge_seeds', 'trained_page', 'write_trained']

_SCOPE_TITLES = dict(backbone='backbone', detector='detector without NMS', end2end='end to end')
# Backbones whose FLOPs differ by less than this share are taken as equal.
_EQUAL_FLOPS = 0.2

_PAGE = """# Compare with AP trained here

Drawn from records by `tools/benchmark/compare_trained.py`; not edited by hand. What it shows and what it cannot show is
in [the guide](../../compare_trained.md).

## Where FasterNet is not ahead

{not_ahead}

## All figures

Mask R-CNN trained from random weights with each backbone: {epochs} epochs, tested on `{dataset}`, seeds {seeds}, the
same schedule, optimizer and augmentation for all. Latencies: {place}, {setting}.
Commits {commits}, {dates}.

![Latency against AP, with the range of the seeds](compare_trained.png)

{figures}

AP in percent: the mean of the seeds, and in brackets the lowest and the highest. FLOPs are multiply-adds of one image.
Latencies are medians in ms. {flags}

## Can the backbones be told apart?

{verdict}

## Learning curves

![Training loss and box AP over the training](curves.png)

## Do equal FLOPs mean equal latency?

![FLOPs against latency, and the multiply-adds per second that result](flops_latency.png)

{beside}{flops}
"""

_BESIDE = """The further panels are of other runs, with other images or at another time: compare within a panel.

"""


def write_trained(records: Records, others: Sequence[Records], out_dir: str | Path) -> dict[str, Path]:
    """Write the report, each file completely or not at all.

    Args:
        records: Of :func:`~mmfasternet.benchmark.comparison.trained.measure_trained`.
        others: Records of other machines or runs, whose FLOPs and latencies are drawn beside.
        out_dir: Folder of the report.

    Returns:
        Name → path of compare_trained.md, compare_trained.png (latency against AP), curves.png, flops_latency.png and
        index.html.

    Raises:
        UserError: If there is no AP or no latency yet, or a file can't be written.
    """
    tested = records.of_kind('ap')
    if not tested or not records.of_kind('latency'):
        raise UserError(f'nothing to draw in {out_dir} yet: no run is finished; run without --report-only first')
    merged, rows = merge_seeds(records), {record['row'] for record in tested}
    beside = [_without_ap(other) for other in others]
    # Only backbones that have an AP here have a place beside it.
    report = collect([merged, *(_of_rows(other, rows) for other in beside)], known=())
    figures = {
        'compare_trained.png': draw_trained(report),
        'curves.png': draw_curves(report, tested),
        'flops_latency.png': draw_throughput(collect([merged, *beside], known=())),
    }
    contents = {'compare_trained.md': trained_page(records, others).encode()}
    contents |= {name: encode(figure) for name, figure in figures.items()}
    contents['index.html'] = render_page(report).encode()
    return {name: write_file(Path(out_dir, name), content) for name, content in contents.items()}


def trained_page(records: Records, others: Sequence[Records] = ()) -> str:
    """The comparison as Markdown."""
    records = escape_records(records)
    tested = records.of_kind('ap')
    report = collect([merge_seeds(records)], known=())
    groups = _newest_groups(report)
    group = groups['backbone']
    shown = [row.latencies[group] for row in report.rows for group in groups.values() if group in row.latencies]
    return _PAGE.format(
        not_ahead=not_ahead(report),
        epochs=tested[0]['epochs'],
        dataset=tested[0]['dataset'],
        seeds=', '.join(map(str, sorted({record['seed'] for record in tested}))),
        place=report.place(group),
        setting=group.setting.removeprefix(f'{group.scope}, '),
        commits=commits(records.records),
        dates=dates(records.records),
        figures=_figures_table(report, groups, tested),
        flags=flagged(shown),
        verdict='\n\n'.join(verdict(_seeds(tested, kind), kind) for kind in ('box', 'mask')),
        beside=_BESIDE if others else '',
        flops=_flops_text(report, group),
    )


def merge_seeds(records: Records) -> Records:
    """The records with one AP for each backbone, the mean of its seeds, and their range beside it."""
    merged = []
    for seeds in by_backbone(records.of_kind('ap')).values():
        names = ', '.join(str(record['seed']) for record in seeds)
        entry = dict(seeds[-1], source=f'mean of the seeds {names}' if len(seeds) > 1 else f'seed {names}')
        for key in [key for key in entry if key.startswith(('box_ap', 'mask_ap'))]:
            entry[key] = mean(record[key] for record in seeds)
        for kind in ('box', 'mask'):
            values = [record[f'{kind}_ap'] for record in seeds]
            entry[f'{kind}_range'] = [min(values), max(values)]
        merged.append(entry)
    return Records(records.machine, records=[*_without_ap(records).records, *merged])


def _without_ap(records: Records) -> Records:
    return Records(records.machine, records=[record for record in records.records if record['kind'] != 'ap'])


def _of_rows(records: Records, rows: set[str]) -> Records:
    return Records(records.machine, records=[record for record in records.records if record['row'] in rows])


def _newest_groups(report: Report) -> dict[str, Group]:
    """Scope → group of the latest, where latencies were taken in several ways, such as with other threads."""
    taken = [(record['date'], group) for row in report.rows for group, record in row.latencies.items()]
    _, newest = max(taken, key=lambda pair: pair[0])
    return {scope: replace(newest, scope=scope) for scope in SCOPES}


def _seeds(tested: Sequence[dict], kind: str) -> dict[str, list[float]]:
    """Label → AP of each seed."""
    return {label: [record[f'{kind}_ap'] for record in seeds] for label, seeds in by_backbone(tested).items()}


def _figures_table(report: Report, groups: dict[str, Group], tested: Sequence[dict]) -> str:
    rows = {row.label: row for row in report.rows}
    lines = []
    masks = _seeds(tested, 'mask')
    for label, boxes in _seeds(tested, 'box').items():
        count, latencies = rows[label].complexity, rows[label].latencies
        lines.append(
            [
                label,
                with_range(boxes),
                with_range(masks[label]),
                f'{count["parts"]["backbone"]["params"] / 1e6:.1f}',
                f'{count["params"] / 1e6:.1f}',
                f'{count["parts"]["backbone"]["flops_full"] / 1e9:.2f}',
                f'{count["flops_full"] / 1e9:.2f}',
                *(latency(latencies[group]) if group in latencies else '' for group in groups.values()),
            ]
        )
    head = ['Backbone', 'box AP', 'mask AP', 'M parameters', 'of the detector', 'G FLOPs', 'of the detector']
    return table([*head, *(f'ms, {_SCOPE_TITLES[scope]}' for scope in SCOPES)], lines)


def _flops_text(report: Report, group: Group) -> str:
    """What the backbones' FLOPs say of their latencies, in words."""
    points = backbone_points(report, group)
    found = {row.label: row.latencies[group] for row in report.rows if group in row.latencies}
    slowest, fastest = min(points, key=throughput), max(points, key=throughput)
    lines = [
        f'Backbones alone: {slowest.label} achieves {throughput(slowest):.0f} G multiply-adds per second and '
        f'{fastest.label} {throughput(fastest):.0f}, {throughput(fastest) / throughput(slowest):.1f} times as many.'
    ]
    if len(points) > 2:
        order = spearmanr(*coordinates(points)).statistic
        lines.append(f"Spearman's ρ between FLOPs and latency is {order:.2f} (n = {len(points)}).")
    near = [
        pair
        for pair in combinations(points, 2)
        if max(point.x for point in pair) <= (1 + _EQUAL_FLOPS) * min(point.x for point in pair)
    ]
    for pair in near:
        quick, slow = sorted(pair, key=lambda point: point.y)
        times = found[quick.label], found[slow.label]
        lines.append(
            f'{quick.label} and {slow.label}, with {quick.x:.2f} and {slow.x:.2f} G multiply-adds, take '
            f'{latency(times[0])} and {latency(times[1])} ms: {slow.y / quick.y:.2f} times as long'
            + (', a tie (within 5 %, or the intervals overlap).' if is_tie(*times) else '.')
        )
    if not near:
        lines.append(f'No two backbones have FLOPs within {_EQUAL_FLOPS:.0%} of each other.')
    return bullets(lines)
