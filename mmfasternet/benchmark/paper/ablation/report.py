"""The page and the figure of the ablation, from the records and the paper's Table 5."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmfasternet.benchmark.comparison.seeds import verdict, with_range
from mmfasternet.benchmark.measure.turns import is_tie
from mmfasternet.benchmark.paper.report import Report, Statement
from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.markdown import flagged, latency, table
from mmfasternet.benchmark.report.style import COLOURS, MARKERS

from .measure import PATHS, VARIANTS

__all__ = ['REPORT', 'PRINTED']

# The base has another name in each group of Table 5.
PRINTED = {variant.printed: variant.name for variant in VARIANTS} | {'T0 BN': 't0', 'T0 GELU': 't0'}
# A part of Table 5: title, its name there, and the variant that is the base.
_GROUPS = (
    ('Partial ratio', 'partial_ratio', 't0'),
    ('Norm', 'normalization', 't0'),
    ('Activation, T0', 'activation', 't0'),
    ('Activation, T2', 'activation', 't2'),
)


@dataclass(frozen=True)
class _Result:
    """A row of Table 5, with the records of its variant: one of its cost, one for each path, one for each seed."""

    printed: dict[str, str]
    records: list[dict]

    @property
    def label(self) -> str:
        """What the variant is called."""
        return self.records[0]['label']

    def part(self, part: str) -> list[dict]:
        """Its records of 'cost', 'latency' or 'ap'."""
        return [record for record in self.records if record['settings']['part'] == part]

    @property
    def cost(self) -> dict:
        """Its parameters, FLOPs and channels."""
        return self.part('cost')[0]['figures']

    @property
    def latencies(self) -> dict[str, dict]:
        """Path → its latency."""
        return {record['settings']['path']: record['figures'] for record in self.part('latency')}

    def ap(self, kind: str = 'box') -> list[float]:
        """AP of its seeds."""
        return [record['figures'][f'{kind}_ap'] for record in self.part('ap')]

    def gaps(self, base: '_Result') -> list[float]:
        """Box AP less that of the base, seed by seed."""
        theirs = dict(zip((record['settings']['seed'] for record in base.part('ap')), base.ap(), strict=True))
        seeds = [record['settings']['seed'] for record in self.part('ap')]
        return [ours - theirs[seed] for seed, ours in zip(seeds, self.ap(), strict=True) if seed in theirs]

    def ratio(self, base: '_Result', path: str) -> float:
        """Its latency over that of the base."""
        return self.latencies[path]['median_ms'] / base.latencies[path]['median_ms']

    def is_tied(self, base: '_Result', path: str) -> bool:
        """Whether its latency and that of the base are a tie."""
        return is_tie(self.latencies[path], base.latencies[path])

    def printed_ratio(self, base: '_Result') -> float:
        """The paper's latency on its CPU over that of the base."""
        return float(self.printed['cpu_latency_ms']) / float(base.printed['cpu_latency_ms'])

    @property
    def top1(self) -> float:
        """The paper's accuracy."""
        return float(self.printed['top1_acc'])


@dataclass(frozen=True)
class _Group:
    """A part of Table 5: all of its rows, the base, and the other variants that were timed on both paths."""

    title: str
    rows: list[_Result]
    base: _Result
    others: list[_Result]


def _groups(records: Records) -> list[_Group]:
    """The parts of which the base and another variant were timed."""
    groups = []
    for title, ablation, base in _GROUPS:
        rows = [
            _Result(row, [record for record in records.records if record['row'] == PRINTED.get(row['variant'])])
            for row in published('table5_ablation')
            if row['ablation'] == ablation and row['variant'].startswith(base.upper())
        ]
        timed = {PRINTED[row.printed['variant']]: row for row in rows if len(row.latencies) == len(PATHS)}
        if base in timed and len(timed) > 1:
            groups.append(_Group(title, rows, timed.pop(base), list(timed.values())))
    return groups


def _timed(records: Records) -> list[dict]:
    return [record for record in records.records if record['settings']['part'] == 'latency']


def _setup(records: Records) -> str:
    timed = _timed(records)
    settings = timed[0]['settings']
    threads = f'{settings["threads"]} thread{"s" * (settings["threads"] > 1)}'
    return f""", {threads}.

Parameters, FLOPs (multiply-adds) and latencies are those of the backbone without a classifier, for an image of
{settings['height']} × {settings['width']} pixels. A partial ratio other than 1/4 has the even width whose FLOPs are
nearest to those of T0, with the nearest integer number of channels convolved. Latencies are medians in ms at batch 1
with random weights, all variants in turns, on two paths: reference, the network as it is trained, and optimized, after
`optimize_for_inference`. Two latencies are a tie if their medians are within 5 % or their intervals overlap.
{flagged(record['figures'] for record in timed)}

{_budget(records)}"""


def _budget(records: Records) -> str:
    """What the variants were trained on, in words."""
    found = [record['settings'] for record in records.records if record['settings']['part'] == 'ap']
    if not found:
        return 'AP is not measured yet.'
    first, seeds = found[0], sorted({settings['seed'] for settings in found})
    of_seeds = f'the mean of the seeds {", ".join(map(str, seeds))}, with their range in brackets'
    return (
        f'AP, in percent points, is that of the detector in `{first["config"]}` with each variant as its backbone, '
        f'trained from random weights for {first["epochs"]} epoch{"s" * (first["epochs"] > 1)} and tested on '
        f'`{first["dataset"]}`: {of_seeds if len(seeds) > 1 else f"seed {seeds[0]} alone"}. '
        "The paper's accuracy is top-1 on ImageNet after 300 epochs: another task and another budget."
    )


def _state(records: Records) -> Iterator[Statement]:
    for group in _groups(records):
        base = group.base
        for variant in group.others:
            yield _beside_base(variant, base)
        measured = [one for one in (base, *group.others) if one.ap()]
        for one, other in permutations(measured, 2):
            if min(one.ap()) > max(other.ap()) and one.top1 < other.top1:
                yield Statement(
                    f'{one.label} is ahead of {other.label} in box AP, {mean(one.ap()):.1f} and {mean(other.ap()):.1f}'
                    f", against the paper's top-1 of {one.top1:.1f} and {other.top1:.1f}.",
                    against=True,
                )
        if len(measured) > 1:
            for kind in ('box', 'mask'):
                text = verdict({one.label: one.ap(kind) for one in measured}, kind)
                yield Statement(f'{group.title}. {text}')


def _beside_base(variant: _Result, base: _Result) -> Statement:
    """A variant beside FasterNet's choice, which the records speak against where the variant is faster or better."""
    times = ' and '.join(
        f'{variant.ratio(base, path):.2f}{" (*tie*)" * variant.is_tied(base, path)} on the {path} path'
        for path in PATHS
    )
    ours, theirs, gaps = variant.ap(), base.ap(), variant.gaps(base)
    ap = 'Its AP is not measured'
    if gaps:
        apart = min(ours) > max(theirs) or max(ours) < min(theirs)
        ap = (
            f'Its box AP is {mean(ours):.1f}, that of {base.label} {mean(theirs):.1f} (the seeds '
            f'{"do not overlap" if apart else "overlap"}); seed by seed it differs by {mean(gaps):+.1f} points'
        )
    flops = variant.cost['flops'] / base.cost['flops'] - 1
    return Statement(
        f'{variant.label} has {variant.cost["channels"]} channels and {flops:+.1%} FLOPs. Its latency relative to '
        f'{base.label} is {times} (the paper, on its CPU: {variant.printed_ratio(base):.2f}). {ap} (the paper, top-1: '
        f'{variant.top1 - base.top1:+.1f}).',
        against=any(variant.ratio(base, path) < 1 and not variant.is_tied(base, path) for path in PATHS)
        or bool(gaps and mean(ours) > mean(theirs)),
    )


def _body(records: Records) -> str:
    """All rows of each part of Table 5, with what was measured where it was."""
    head = ['Table 5 calls it', 'channels', 'M parameters', 'G FLOPs', *(f'ms, {path}' for path in PATHS)]
    head += ['box AP', 'mask AP', 'the paper, ms (CPU)', 'images/s (GPU)', 'top-1']
    sections = []
    for group in _groups(records):
        rows = []
        for row in group.rows:
            own = [''] * 7
            if row is group.base or row in group.others:
                own = [
                    str(row.cost['channels']),
                    f'{row.cost["params"] / 1e6:.2f}',
                    f'{row.cost["flops"] / 1e9:.3f}',
                    *(latency(row.latencies[path]) for path in PATHS),
                    *(with_range(row.ap(kind)) if row.ap(kind) else '' for kind in ('box', 'mask')),
                ]
            theirs = [row.printed[key] for key in ('cpu_latency_ms', 'gpu_throughput_fps', 'top1_acc')]
            rows.append([row.printed['variant'].replace('*', '\\*'), *own, *theirs])
        sections.append(f'## {group.title}\n\n{table(head, rows)}')
    return '\n\n'.join(sections)


def _draw(records: Records) -> Figure:
    """Ratios of latency on the left, differences of accuracy on the right, and what Table 5 has for both."""
    lines = [(group.base, variant) for group in _groups(records) for variant in group.others]
    figure = Figure(figsize=(11, 2.2 + 0.45 * len(lines)), layout='constrained')
    speed, quality = figure.subplots(1, 2, sharey=True)
    for place, (base, variant) in enumerate(lines):
        for index, path in enumerate(PATHS):
            _dot(speed, variant.ratio(base, path), place, index, path)
        _dot(speed, variant.printed_ratio(base), place, 2, 'the paper, CPU')
        if gaps := variant.gaps(base):
            quality.plot([min(gaps), max(gaps)], [place, place], color=COLOURS[0], linewidth=1)
            _dot(quality, mean(gaps), place, 0, 'box AP, mean and range of seeds')
        _dot(quality, variant.top1 - base.top1, place, 2, 'the paper, top-1 on ImageNet')
    speed.set_yticks(range(len(lines)), [f'{variant.label}, to {base.label}' for base, variant in lines])
    speed.invert_yaxis()
    speed.set_xlabel("latency relative to the base's")
    quality.set_xlabel("accuracy minus the base's (points)")
    for axes, even in ((speed, 1), (quality, 0)):
        axes.axvline(even, color='#222222', linewidth=1)
        axes.locator_params('x', nbins=6)
        handles, names = axes.get_legend_handles_labels()
        named = dict(zip(names, handles, strict=True))
        place = dict(loc='lower center', bbox_to_anchor=(0.5, 1), ncols=3)
        axes.legend(named.values(), named.keys(), **place, frameon=False, fontsize=9)
    figure.suptitle(f'Measured on {records.machine["label"]}', fontsize=11)
    return figure


def _dot(axes: Axes, x: float, y: float, index: int, label: str) -> None:
    """A mark, hollow if it is published."""
    fill = 'white' if label.startswith('the paper') else COLOURS[index]
    style = dict(color=COLOURS[index], markerfacecolor=fill, markersize=8, linestyle='none')
    axes.plot(x, y, MARKERS[index], **style, label=label)


REPORT = Report(
    name='ablation',
    title='Ablation',
    caption='Latency and AP of each variant beside its base',
    setup=_setup,
    state=_state,
    body=_body,
    draw=_draw,
    missing=lambda records: '' if _timed(records) else 'no variant is timed; run without --report-only',
)
