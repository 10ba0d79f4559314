"""What is known about FasterNet on GPUs without one: others' figures, and predictions, as tables and a figure."""

from collections.abc import Callable, Iterable, Iterator

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmfasternet.benchmark.published.rows import ROWS, Row
from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.report.markdown import bullets, milliseconds, span, table
from mmfasternet.benchmark.report.style import COLOURS, MARKERS, STYLE
from mmfasternet.models.variants import VARIANTS

from .predict import CARDS, FORMS, LAUNCH_MS, Fit, Prediction, block_operators, fit_published, predict, shares_of

__all__ = ['TIMM', 'draw_predicted', 'images', 'prediction_section', 'published_sections', 'speaks_against']

TIMM = "timm's `results/benchmark-infer-amp-nchw-pt291-*`: AMP, batch 1024, 224 × 224"
_CELLS = tuple(
    (arch, shape, batch)
    for arch in ('t0', 's', 'l')
    for shape, batch in (((224, 224), 1), ((224, 224), 32), ((224, 224), 256), ((800, 1280), 1))
)
_PREDICTED = tuple(form for form in FORMS if shares_of(form))
_FITS = tuple((card, mode) for card in ('rtx4090', 'rtx5090') for mode in ('eager', 'compiled'))
_COLUMNS = {f'{card}_{mode}': f'{CARDS[card].name}, {mode}' for card, mode in _FITS}
# The column that decides which of two networks is the faster one.
_BEST = 'rtx5090_compiled'
# Percent points of box AP and share of the throughput that count as equal.
_SAME_AP, _SAME_SPEED = 0.2, 0.05

_PREDICTION = """## Prediction for an H100

The floor is what memory ({tb_s:g} TB/s) and matrix units ({tflops:g} TFLOP/s in half precision, two operations for each
multiply-add) need for what each kernel reads, writes and multiplies, one kernel after the other, with norms on the four
outputs. These ceilings are assumptions. So is that all reads and writes go to memory: where feature maps fit in the
second-level cache, as those of one small image do, less time is possible.

Floor in µs, half precision, *predicted*:

{floors}

Images per second, half precision, replayed as a CUDA graph, *predicted*, from the lowest to the highest share of the
floor that any variant reaches in the published figures below: {shares}. Products and max-autotune have no published
figures; they are given the shares of both forms that do. A kernel is assumed to last at least {launch:g} µs, which
decides most of what is predicted for one image of 224 × 224. Nothing published is like the fused kernel, so it has a
floor and no prediction. Without a graph, small batches wait for the host, which is not predicted.

{throughputs}

Kernels per forward pass:

{launches}"""

_PUBLISHED = """## The prediction beside published figures

*Published*: {timm}. The constant is the share of the floor that a card reaches, one per card and mode, fitted to six
variants each. The ceilings are assumed to be {ceilings}.

{constants}

{fits}

`torch.compile` is assumed to run in its default mode, since timm's files name none. That mode writes what a convolution
computes to memory before the norm and the activation read it: {compiled:g} feature maps per block. Counted as the
{fused:g} of max-autotune, the prediction would be off by up to {worse:.0%} instead of {better:.0%}.

## What a block reads and writes

In units of one feature map, read or written once.

{forms}

{operators}

## Published throughput of FasterNet and other backbones

Images per second, *published*: {timm}. Box AP is that of Mask R-CNN, 1x, on COCO val2017, *published*; its sources are
in [the comparison](../compare/compare.md). Empty cells were not collected.

{throughput}"""


def speaks_against() -> Iterator[str]:
    """What the published figures say against FasterNet, in sentences."""
    speeds, rows = _speeds(), {row.name: row for row in ROWS}
    ours = [name for name in speeds if name in rows and rows[name].family == 'FasterNet']
    for other in (name for name in speeds if name in rows and name not in ours and rows[name].published):
        for name in ours:
            if _is_as_good(rows[other], rows[name]) and (1 + _SAME_SPEED) * speeds[other][_BEST] >= speeds[name][_BEST]:
                ratios = [speeds[other][key] / speeds[name][key] for key in _COLUMNS if key in speeds[other]]
                yield (
                    f'{rows[other].label} processes {span(ratios)} times as many images per second as '
                    f'{rows[name].label}, with a box AP of {rows[other].published.box_ap} against '
                    f'{rows[name].published.box_ap} (*published*).'
                )
    fastest_other = max(speed[_BEST] for name, speed in speeds.items() if name not in ours)
    ahead = [rows[name].label for name in ours if speeds[name][_BEST] > fastest_other and not rows[name].published]
    if ahead:
        yield (
            f'{" and ".join(ahead)} have the highest throughput of the backbones below (RTX 5090, compiled), but no '
            'COCO AP of theirs has been published.'
        )


def prediction_section() -> str:
    """What is predicted for an H100, in Markdown."""
    card = CARDS['h100']
    return _PREDICTION.format(
        tb_s=card.tb_s,
        tflops=card.tflops,
        floors=_by_cell(FORMS, lambda found: milliseconds(1000 * found.floor_ms)),
        throughputs=_by_cell(_PREDICTED, lambda found: _range(found.throughput)),
        shares=', '.join(f'{span(shares_of(form))} ({form})' for form in _PREDICTED),
        launch=1000 * LAUNCH_MS,
        launches=_launches_table(),
    )


def published_sections() -> str:
    """What others have published, and what the predictions make of it, in Markdown."""
    fits = [fit_published(card, mode) for card, mode in _FITS]
    cards = dict.fromkeys(found.card for found in fits)
    return _PUBLISHED.format(
        timm=TIMM,
        ceilings=' and '.join(f'{card.tb_s:g} TB/s and {card.tflops:g} TFLOP/s ({card.name})' for card in cards),
        constants=bullets(
            f'{found.card.name}, {found.mode}: {found.share:.2f}, off by up to {_worst([found]):.0%}' for found in fits
        ),
        fits=_fits_table(fits),
        compiled=_units('compiled', 'ReLU'),
        fused=_units('max-autotune', 'ReLU'),
        better=_worst([found for found in fits if found.mode == 'compiled']),
        worse=_worst([fit_published(card, mode, 'max-autotune') for card, mode in _FITS if mode == 'compiled']),
        forms=_forms_table(),
        operators=bullets(_operators()),
        throughput=_throughput_table(),
    )


@matplotlib.rc_context(STYLE)
def draw_predicted() -> Figure:
    """Predicted against published throughput, and the range that is predicted for an H100."""
    figure = Figure(figsize=(10, 4.8), layout='constrained')
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    _draw_fits(left)
    _draw_ranges(right)
    figure.suptitle('Nothing measured: predictions, and figures published by timm', fontsize=11)
    return figure


def images(value: float) -> str:
    """Images/s with three digits.

    Args:
        value: Images/s.

    Returns:
        The number, without an exponent.

    Example:
        >>> images(12345), images(31.6)
        ('12,300', '32')
    """
    return f'{float(f"{value:.3g}"):,.0f}'


def _draw_fits(axes: Axes) -> None:
    ends = (1500, 100_000)
    axes.plot(ends, ends, color='#222222', linewidth=1)
    for index, (card, mode) in enumerate(_FITS):
        found = fit_published(card, mode)
        axes.plot(
            list(found.published.values()),
            list(found.predicted.values()),
            color=COLOURS[index],
            marker=MARKERS[index],
            markerfacecolor='white',
            linestyle='none',
            label=f'{found.card.name}, {mode} (off by up to {_worst([found]):.0%})',
        )
    axes.set(xscale='log', yscale='log', xlim=ends, ylim=ends, aspect='equal')
    axes.set_xlabel('published images/s, batch 1024 (log scale)')
    axes.set_ylabel('predicted images/s (log scale)')
    axes.legend(frameon=False, fontsize=8, loc='upper left')


def _draw_ranges(axes: Axes) -> None:
    step = 0.8 / len(FORMS)
    for index, form in enumerate(FORMS):
        places = [row + (index - (len(FORMS) - 1) / 2) * step for row in range(len(VARIANTS))]
        found = [predict(arch, form, batch=256) for arch in VARIANTS]
        floors = [1000 * one.batch / one.floor_ms for one in found]
        axes.plot(floors, places, color=COLOURS[index], marker='|', markersize=9, linestyle='none')
        label = f'{form} (floor alone)'
        if form in _PREDICTED:
            label = form
            low, high = zip(*(one.throughput for one in found), strict=True)
            axes.hlines(places, low, high, color=COLOURS[index], linewidth=4)
        axes.plot([], [], color=COLOURS[index], linewidth=4, label=label)
    axes.set_yticks(range(len(VARIANTS)), [variant.label for variant in VARIANTS.values()])
    axes.invert_yaxis()
    axes.set_xscale('log')
    axes.set_xlabel('images/s on an H100, batch 256, predicted; | floor (log scale)')
    axes.legend(frameon=False, fontsize=8, loc='lower right')


def _speeds() -> dict[str, dict[str, float]]:
    """timm's name → column → images/s, where it is published."""
    return {
        line['timm_name']: {key: float(line[key]) for key in _COLUMNS if line[key]}
        for line in published('throughput_gpu_timm')
    }


def _is_as_good(other: Row, ours: Row) -> bool:
    return ours.published is not None and other.published.box_ap >= ours.published.box_ap - _SAME_AP


def _worst(fits: list[Fit]) -> float:
    return max(abs(error) for found in fits for error in found.errors.values())


def _units(form: str, act: str) -> float:
    return sum(kernel.reads + kernel.writes for kernel in block_operators(form, act))


def _range(values: tuple[float, float]) -> str:
    return '–'.join(dict.fromkeys(map(images, values)))


def _by_cell(forms: Iterable[str], text: Callable[[Prediction], str]) -> str:
    rows = [
        [
            f'{arch.upper()}, {shape[0]} × {shape[1]}, batch {batch}',
            *(text(predict(arch, form, shape, batch)) for form in forms),
        ]
        for arch, shape, batch in _CELLS
    ]
    return table(['', *forms], rows)


def _launches_table() -> str:
    archs = dict.fromkeys(arch for arch, *_ in _CELLS)
    return table(
        ['', *FORMS], [[arch.upper(), *(str(predict(arch, form).launches) for form in FORMS)] for arch in archs]
    )


def _fits_table(fits: list[Fit]) -> str:
    rows = [
        [
            f'{found.card.name}, {found.mode}',
            variant.label,
            f'{found.published[arch]:,.0f}',
            images(found.predicted[arch]),
            f'{found.errors[arch]:+.1%}',
            f'{found.shares[arch]:.2f}',
        ]
        for found in fits
        for arch, variant in VARIANTS.items()
    ]
    return table(['', 'FasterNet', '*published*', 'predicted', 'error', 'share of the floor'], rows)


def _forms_table() -> str:
    rows = []
    for form, text in FORMS.items():
        kernels = [len(block_operators(form, act)) for act in ('ReLU', 'GELU')]
        units = [_units(form, act) for act in ('ReLU', 'GELU')]
        rows.append(
            [form, *('/'.join(dict.fromkeys(f'{value:g}' for value in pair)) for pair in (kernels, units)), text]
        )
    return table(['', 'kernels, with ReLU/GELU', 'feature maps, with ReLU/GELU', 'what it is'], rows)


def _operators() -> Iterator[str]:
    for form in FORMS:
        parts = (f'{kernel.name} {kernel.reads + kernel.writes:g}' for kernel in block_operators(form, 'GELU'))
        yield f'{form}, with GELU: {", ".join(parts)}'


def _throughput_table() -> str:
    rows, speeds = {row.name: row for row in ROWS}, _speeds()
    lines = []
    for name in sorted(speeds, key=lambda name: speeds[name][_BEST], reverse=True):
        row = rows.get(name)
        ap = f'{row.published.box_ap}' if row and row.published else ''
        figures = (f'{speeds[name][key]:,.0f}' if key in speeds[name] else '' for key in _COLUMNS)
        lines.append([row.label if row else name, ap, *figures])
    return table(['', 'box AP', *_COLUMNS.values()], lines)
