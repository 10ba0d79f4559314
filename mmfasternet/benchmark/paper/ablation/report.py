"""The ablation as a page and a picture, from its records and the paper's Table 5."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmfasternet.benchmark.comparison.trained_report import Outcome, verdict, with_range
from mmfasternet.benchmark.paper.report import write_report
from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.report.markdown import bullets, flagged, latency, origin, table
from mmfasternet.benchmark.report.plots import COLOURS, MARKERS, STYLE
from mmfasternet.errors import UserError

from .measure import FORMS, VARIANTS

__all__ = ['ablation_page', 'draw_ablation', 'write_ablation']

PAGE = """# Ablation

Drawn from `records.json` by `tools/paper/ablation.py`; not edited by hand. What it is about is in
[the guide](../../../paper.md).

{origin}.

Parameters, FLOPs (multiply-adds) and latencies are those of the backbone without a classifier, for a picture of
{pixels}. Another partial ratio has the even width whose FLOPs are nearest to those of T0, with
the nearest whole number of channels convolved. Latencies are medians in ms at batch 1 with random weights, all variants
in turns: eager is the network as it is trained, deployed its inference form. {flags}

{budget}

![Latency and AP of each variant beside its base](ablation.png)

{groups}
"""


@dataclass(frozen=True)
class Group:
    """A part of Table 5: a title, its name and how its rows begin there, and the variant that others stand beside."""

    title: str
    ablation: str
    prefix: str
    base: str


GROUPS = (
    Group('Partial ratio', 'partial_ratio', 'T0', 't0'),
    Group('Norm', 'normalization', 'T0', 't0'),
    Group('Activation, T0', 'activation', 'T0', 't0'),
    Group('Activation, T2', 'activation', 'T2', 't2'),
)
# The base stands in each group of Table 5 under another name.
PRINTED = {variant.printed: variant.name for variant in VARIANTS} | {'T0 BN': 't0', 'T0 GELU': 't0'}


def ablation_page(document: dict) -> str:
    """The study as Markdown.

    Args:
        document: From :func:`~mmfasternet.benchmark.paper.ablation.measure.measure_ablation`.

    Returns:
        The text.
    """
    records = document['records']
    settings = next(record['settings'] for record in records if record['settings']['part'] == 'latency')
    return PAGE.format(
        origin=origin(document),
        pixels=f'{settings["height"]} × {settings["width"]} pixels',
        flags=flagged(record['figures'] for record in records if record['settings']['part'] == 'latency'),
        budget=budget(records),
        groups='\n\n'.join(
            f'## {group.title}\n\n{group_table(records, group)}\n\n{bullets(group_verdict(records, group))}'
            for group in GROUPS
            if members(records, group)
        ),
    )


def budget(records: list[dict]) -> str:
    """What the variants were trained on, in words."""
    found = [record['settings'] for record in records if record['settings']['part'] == 'ap']
    if not found:
        return 'No AP is measured yet.'
    first, seeds = found[0], sorted({settings['seed'] for settings in found})
    return (
        f'AP, in percent points, is that of the detector in `{first["config"]}` with each variant as its backbone, '
        f'trained from random weights for {first["epochs"]} epoch{"s" if first["epochs"] > 1 else ""} and tested on '
        f'`{first["dataset"]}`. '
        + (
            f'It is the mean of the seeds {", ".join(map(str, seeds))}, with their range in brackets. '
            if len(seeds) > 1
            else f'It is that of seed {seeds[0]} alone. '
        )
        + "The paper's accuracy is top-1 on ImageNet after 300 epochs: another task and another budget."
    )


def members(records: list[dict], group: Group) -> list[str]:
    """Names of the measured variants of a group, beside its base."""
    names = [PRINTED.get(row['variant']) for row in printed_rows(group)]
    return [name for name in names if name != group.base and all(is_measured(records, n) for n in (name, group.base))]


def printed_rows(group: Group) -> list[dict[str, str]]:
    return [
        row
        for row in published('table5_ablation')
        if row['ablation'] == group.ablation and row['variant'].startswith(group.prefix)
    ]


def one(records: list[dict], name: str | None, **settings: object) -> dict | None:
    """The record of a variant with these settings."""
    for record in records:
        if record['row'] == name and settings.items() <= record['settings'].items():
            return record
    return None


def is_measured(records: list[dict], name: str | None) -> bool:
    return all(one(records, name, part='latency', form=form) for form in FORMS)


def ap_of(records: list[dict], name: str, kind: str = 'box') -> dict[int, float]:
    """Seed → AP of a variant."""
    return {
        record['settings']['seed']: record['figures'][f'{kind}_ap']
        for record in records
        if record['row'] == name and record['settings']['part'] == 'ap'
    }


def median_ms(records: list[dict], name: str, form: str) -> float:
    return one(records, name, part='latency', form=form)['figures']['median_ms']


def group_table(records: list[dict], group: Group) -> str:
    """All rows of a part of Table 5, with what was measured where it was."""
    rows = []
    for printed in printed_rows(group):
        own, name = [''] * 7, PRINTED.get(printed['variant'])
        if is_measured(records, name):
            figures = one(records, name, part='cost')['figures']
            own = [
                str(figures['channels']),
                f'{figures["params"] / 1e6:.2f}',
                f'{figures["flops"] / 1e9:.3f}',
                *(latency(one(records, name, part='latency', form=form)['figures']) for form in FORMS),
                *(
                    with_range(list(seeds.values())) if (seeds := ap_of(records, name, kind)) else ''
                    for kind in ('box', 'mask')
                ),
            ]
        theirs = [printed[key] for key in ('cpu_latency_ms', 'gpu_throughput_fps', 'top1_acc')]
        rows.append([printed['variant'].replace('*', '\\*'), *own, *theirs])
    head = ['Table 5 calls it', 'channels', 'M parameters', 'G FLOPs', *(f'ms, {form}' for form in FORMS)]
    head += ['box AP', 'mask AP', 'the paper, ms (CPU)', 'pictures/s (GPU)', 'top-1']
    return table(head, rows)


def group_verdict(records: list[dict], group: Group) -> Iterator[str]:
    printed = {PRINTED.get(row['variant']): row for row in printed_rows(group)}
    base = one(records, group.base, part='cost')
    for name in members(records, group):
        record = one(records, name, part='cost')
        flops = record['figures']['flops'] / base['figures']['flops'] - 1
        times = [median_ms(records, name, form) / median_ms(records, group.base, form) for form in FORMS]
        theirs = float(printed[name]['cpu_latency_ms']) / float(printed[group.base]['cpu_latency_ms'])
        yield (
            f'{record["label"]} has {record["figures"]["channels"]} channels and {flops:+.1%} FLOPs. It takes '
            f'{times[0]:.2f} times as long as {base["label"]} in eager form and {times[1]:.2f} times deployed (the '
            f'paper, on its CPU: {theirs:.2f}).' + accuracy(records, group, name, printed)
        )
    found = [
        Outcome(
            one(records, name, part='cost')['label'],
            *(tuple(ap_of(records, name, kind).values()) for kind in ('box', 'mask')),
        )
        for name in (group.base, *members(records, group))
        if ap_of(records, name)
    ]
    if len(found) > 1:
        yield from (verdict(found, kind) for kind in ('box', 'mask'))


def accuracy(records: list[dict], group: Group, name: str, printed: dict[str, dict[str, str]]) -> str:
    """How far a variant's AP lies from its base's, beside the paper's accuracies."""
    theirs = float(printed[name]['top1_acc']) - float(printed[group.base]['top1_acc'])
    gaps = ap_gaps(records, name, group.base)
    ours = f' Its box AP is {mean(gaps):+.1f} points from it' if gaps else ' Its AP is not measured'
    return f'{ours} (the paper, top-1: {theirs:+.1f}).'


def ap_gaps(records: list[dict], name: str, base: str) -> list[float]:
    """Box AP of a variant less that of its base, seed by seed."""
    ours, theirs = ap_of(records, name), ap_of(records, base)
    return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


@matplotlib.rc_context(STYLE)
def draw_ablation(document: dict) -> Figure:
    """Latency and AP of each variant beside its base, and what Table 5 has for both.

    Args:
        document: As for :func:`ablation_page`.

    Returns:
        The figure: ratios of latency on the left, differences of accuracy on the right.
    """
    records = document['records']
    lines = [(group, name) for group in GROUPS for name in members(records, group)]
    labels = [f'{one(records, name, part="cost")["label"]}, to {group.base.upper()}' for group, name in lines]
    figure = Figure(figsize=(11, 2.2 + 0.45 * len(lines)), layout='constrained')
    speed, quality = figure.subplots(1, 2, sharey=True)
    for place, (group, name) in enumerate(lines):
        printed = {PRINTED.get(row['variant']): row for row in printed_rows(group)}
        theirs, their_base = printed[name], printed[group.base]
        for index, form in enumerate(FORMS):
            dot(speed, median_ms(records, name, form) / median_ms(records, group.base, form), place, index, form)
        dot(speed, float(theirs['cpu_latency_ms']) / float(their_base['cpu_latency_ms']), place, 2, 'the paper, CPU')
        gaps = ap_gaps(records, name, group.base)
        if gaps:
            quality.plot([min(gaps), max(gaps)], [place, place], color=COLOURS[0], linewidth=1)
            dot(quality, mean(gaps), place, 0, 'box AP, mean and range of seeds')
        dot(
            quality, float(theirs['top1_acc']) - float(their_base['top1_acc']), place, 2, 'the paper, top-1 on ImageNet'
        )
    speed.set_yticks(range(len(lines)), labels)
    speed.invert_yaxis()
    speed.axvline(1, color='#222222', linewidth=1)
    quality.axvline(0, color='#222222', linewidth=1)
    speed.set_xlabel("latency over the base's")
    quality.set_xlabel("accuracy less the base's (points)")
    for axes in (speed, quality):
        axes.locator_params('x', nbins=6)
        handles, names = axes.get_legend_handles_labels()
        named = dict(zip(names, handles, strict=True))
        axes.legend(
            named.values(),
            named.keys(),
            loc='lower center',
            bbox_to_anchor=(0.5, 1),
            ncols=3,
            frameon=False,
            fontsize=9,
        )
    figure.suptitle(f'Measured on {document["machine"]["label"]}', fontsize=11)
    return figure


def dot(axes: Axes, x: float, y: float, index: int, label: str) -> None:
    """A mark; what is published is hollow."""
    fill = 'white' if label.startswith('the paper') else COLOURS[index]
    axes.plot(
        x, y, MARKERS[index], color=COLOURS[index], markerfacecolor=fill, markersize=8, linestyle='none', label=label
    )


def write_ablation(document: dict, out_dir: str | Path) -> dict[str, Path]:
    """Write the page and the picture, each file whole.

    Args:
        document: As for :func:`ablation_page`.
        out_dir: Folder, made if it is missing.

    Returns:
        Name → path of ablation.md, ablation.png and ablation.svg.

    Raises:
        UserError: If nothing is measured yet, or a file can't be written.
    """
    if not any(record['settings']['part'] == 'latency' for record in document['records']):
        raise UserError(f'nothing to draw in {out_dir} yet: nothing is measured; run the study without --report-only')
    return write_report('ablation', ablation_page(document), draw_ablation(document), out_dir)
