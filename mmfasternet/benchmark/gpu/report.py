"""FasterNet on a GPU as a page and a figure: from records, or, before there are any, from predictions."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.markdown import bullets, escape_records, origin
from mmfasternet.benchmark.report.style import COLOURS, MARKERS, STYLE, encode
from mmfasternet.errors import UserError
from mmfasternet.files import write_file

from .measured import aims, cells_of, is_worth, slower_than_plain, slower_than_timm, speedups, standings, ways_of
from .predicted import TIMM, draw_predicted, prediction_section, published_sections, speaks_against
from .tables import measured_tables

__all__ = ['draw_gpu', 'gpu_page', 'write_gpu']

_FLAGGED = '- All figures that could be compared are flagged.'
_UNMEASURED = """# FasterNet on a GPU

**Nothing on this page was measured on a GPU by this project.**
Each figure is *predicted*, from what the operators read, write and multiply, or *published* by others. Drawn by
`tools/benchmark/gpu.py`; not edited by hand.

## What speaks against FasterNet

{against}

![Predicted and published throughput](gpu.png)

{prediction}

{published}
"""

_MEASURED = """# {title}

{first}Drawn from `records.json` by `tools/benchmark/gpu.py`; not edited by hand.

{verdict}

{origin}.{machine}

The backbone alone, the same weights in every way to run it. *Run after run* is the time of one of many runs in a row,
which decides throughput; *each run waited for* is what one caller waits. *Reference* is the network as it is trained,
*folded* has its norms folded, *optimized* is `optimize_for_inference`, *fused* the Triton kernel. Tensors are
channels_last unless NCHW is said; *graph* is a CUDA graph; *reduce-overhead* and *max-autotune* are modes of
`torch.compile`.

![Speed of each way to run FasterNet](gpu.png)

## Speed as a multiple of the fastest plain network in eager PyTorch

Run after run; = marks a tie with it, \\* a flagged figure.

{ratios}

## Throughput

Images per second. *Published* for comparison: the paper's Table 3 (RTX 2080 Ti, batch 32) and {timm}.

{throughput}

## Latency in ms

Each run waited for, median.

{latencies}

{flags}

Run after run.

{runs}

## Share of the two ceilings

Of the measured bandwidth for what the form reads and writes / of the measured speed of matrix products. {peaks}

{shares}

## Prediction and measurement

Milliseconds, run after run: predicted (in a graph, from the measured ceilings and the shares that other cards reach) /
measured (the fastest way of that form).

{predicted}

## Peak memory in MiB

What a run needs beside the weights.

{memory}

## Seconds to compile

{compiling}

## Difference from float64

Largest difference of a feature map over its largest value.

{differences}

## The fused kernel

{kernels}

## Training

{training}

## Mask R-CNN

What one caller waits, in ms. *Backbone* alone; *detector*: every layer, with fixed proposals; *end2end*: with NMS and
masks pasted. Half precision is autocast's.

{detectors}

## A training run

{demo}

## What speaks against FasterNet, as published

{against}

{published}
"""


def gpu_page(records: Records | None) -> str:
    """The page of the benchmark.

    Args:
        records: What was measured on a GPU, or in a rehearsal on a CPU. None means that nothing was.

    Returns:
        Markdown.

    Example:
        >>> print(gpu_page(None).splitlines()[2])
        **Nothing on this page was measured on a GPU by this project.**
    """
    if records is None:
        return _UNMEASURED.format(
            against=bullets(speaks_against()), prediction=prediction_section(), published=published_sections()
        )
    records = escape_records(records)
    cells, rehearsal = cells_of(records), _is_rehearsal(records)
    title, first = 'FasterNet on a GPU', ''
    if rehearsal:
        title = 'Rehearsal on a CPU of the GPU benchmark'
        first = '**This is a rehearsal on a CPU: its times mean nothing for a GPU.** '
    return _MEASURED.format(
        title=title,
        first=first,
        verdict=bullets(
            [
                *slower_than_timm(records),
                *slower_than_plain(cells),
                *is_worth(cells),
                *_aims(records, cells),
                *standings(cells),
            ]
        )
        or _FLAGGED,
        origin=origin(records),
        machine=_machine(records.machine),
        timm=TIMM,
        **measured_tables(records),
        against=bullets(speaks_against()),
        published=published_sections() + _elsewhere(records),
    )


def draw_gpu(records: Records | None) -> Figure:
    """The figure of the benchmark: each way's speed in each cell; before anything was measured, the predictions.

    Args:
        records: As in :func:`gpu_page`.

    Returns:
        The figure.
    """
    return draw_predicted() if records is None else _draw_measured(records)


def write_gpu(records: Records | None, out_dir: str | Path) -> dict[str, Path]:
    """Write the page and the figure.

    Args:
        records: As in :func:`gpu_page`.
        out_dir: Folder, made if it is missing.

    Returns:
        Name → path of gpu.md and gpu.png.

    Raises:
        UserError: If the records hold no latency yet or are a rehearsal's that would be published, or a file can't be
            written.
    """
    if records is not None and not speedups(cells_of(records)):
        raise UserError(f'nothing to draw in {out_dir} yet: no plain network has a latency; measure first')
    if records is not None and _is_rehearsal(records) and 'docs/results/' in f'{Path(out_dir).resolve().as_posix()}/':
        raise UserError(
            f'{out_dir} is for what a GPU measured, and the records are of a rehearsal on a CPU: write elsewhere'
        )
    files = {'gpu.md': gpu_page(records).encode(), 'gpu.png': encode(draw_gpu(records))}
    return {name: write_file(Path(out_dir, name), content) for name, content in files.items()}


@matplotlib.rc_context(STYLE)
def _draw_measured(records: Records) -> Figure:
    cells = cells_of(records)
    ratios = speedups(cells)
    figure = Figure(figsize=(8, 2.4 + 0.34 * len(ratios)), layout='constrained')
    axes = figure.add_subplot()
    for index, way in enumerate(ways_of(cells)):
        # As many styles as there are pairs of a colour and a marker; graphs and compiled ones are hollow.
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]
        points = [(row[way], place) for place, row in enumerate(ratios.values()) if way in row]
        hollow = dict(markerfacecolor='white') if ', graph' in way else {}
        style = dict(color=colour, marker=marker, markersize=7, linestyle='none', **hollow)
        axes.plot(*zip(*points, strict=True), label=way, **style)
    axes.set_yticks(range(len(ratios)), [cell.title for cell in ratios])
    axes.invert_yaxis()
    axes.set_xscale('log')
    fastest = max(max(row.values()) for row in ratios.values())
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 4, 8, 16, 32) if tick <= 1.4 * fastest]
    axes.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
    axes.minorticks_off()
    axes.axvline(1, color='#222222', linewidth=1)
    axes.set_xlabel('speed / that of the fastest plain network in eager PyTorch (log scale)')
    where = 'a rehearsal on a CPU, no GPU' if _is_rehearsal(records) else f'measured on {records.machine["label"]}'
    figure.suptitle(f'FasterNet backbones, {where}', fontsize=11)
    figure.legend(loc='outside lower center', ncols=3, frameon=False, fontsize=8)
    return figure


def _is_rehearsal(records: Records) -> bool:
    return records.machine['device'] == 'cpu'


def _aims(records: Records, cells: dict) -> list[str]:
    """They are for one card."""
    return list(aims(cells)) if 'H100' in records.machine['label'] else []


def _machine(machine: dict) -> str:
    """What a file says of its GPU, as far as it says it."""
    facts = dict(
        gpu_memory_gb='{} GB',
        multiprocessors='{} multiprocessors',
        capability='capability {}',
        power_limit_w='limited to {} W',
        driver='driver {}',
        cuda='CUDA {}',
    )
    said = [text.format(machine[key]) for key, text in facts.items() if machine.get(key) is not None]
    said += [f'{name} {version}' for name, version in machine.get('packages', {}).items()]
    return f' {", ".join(said)}.' if said else ''


def _elsewhere(records: Records) -> str:
    """Links to what other tools drew of the same run, beside it."""
    if records.path is None:
        return ''
    folder = records.path.parent
    pages = [page for name in ('operators', 'comparison') for page in sorted((folder / name).glob('*.md'))]
    links = [f'[{page.parent.name}]({page.relative_to(folder).as_posix()})' for page in pages]
    return f'\n\nMeasured in the same run: {", ".join(links)}.' if links else ''
