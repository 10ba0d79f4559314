"""The benchmark of engines as Markdown tables and a picture, from its records."""

from pathlib import Path
from statistics import geometric_mean

import matplotlib
from matplotlib.figure import Figure

from mmfasternet.benchmark.records.records import of_kind
from mmfasternet.benchmark.report.markdown import commits, dates, latency, table
from mmfasternet.benchmark.report.plots import COLOURS, MARKERS, STYLE, encode
from mmfasternet.files import write_whole

from .measure import CONTENDERS

__all__ = ['draw_engines', 'markdown_tables', 'speedups', 'write_engines_report']

Cell = tuple[str, tuple[int, int], int]
LABELS = [contender.label for contender in CONTENDERS]
FP32 = [contender.label for contender in CONTENDERS if contender.precision == 'fp32']
BASES = ('timm', 'reference')

PAGE = """# FasterNet in every engine

Drawn from `records.json` by `tools/benchmark/engines.py`; not edited by hand.

Measured on {machine}, {dates}, commit {commits}, with {packages}. The backbone alone, batch 1, the same weights for
all, all models of a cell in memory and in turn. Times are an illustration; the ratios were taken side by side.

![Speed of each engine](engines.png)

## Times as fast as the faster of timm and the reference path

{ratios}

In bf16 and int8 it is another computation. Its maps differ from those of fp32 by up to {bf16:.1%} and {int8:.1%} of
their largest value, with random weights, and int8 calibrated on this one image: what that means for AP is in
[the guide](../../deploy.md).

## Latency in ms

{latencies}

{flags}

## Share of the machine's peak

The peak is the faster of MKL's and oneDNN's product of two 2048 × 2048 matrices, measured between the rounds. A
multiply-add is two operations.

{shares}

## Where the time of the deployed form goes

{profiles}

## Training

{training}
"""


def cells_of(document: dict) -> dict[Cell, dict[str, dict]]:
    """Cell → contender → latency record, in the order they were measured."""
    cells: dict[Cell, dict[str, dict]] = {}
    for record in of_kind(document, 'latency'):
        cells.setdefault(cell_of(record), {})[record['contender']] = record
    return cells


def cell_of(record: dict) -> Cell:
    return record['arch'], tuple(record['shape']), record['threads']


def name_of(cell: Cell) -> str:
    arch, (height, width), threads = cell
    return f'{arch.upper()}, {height} × {width}, {threads} thread{"s" if threads > 1 else ""}'


def speedups(document: dict) -> dict[Cell, dict[str, float]]:
    """How many times as fast as the faster of timm and the reference path each contender is.

    Args:
        document: From :func:`~mmfasternet.benchmark.engines.measure.measure_engines`.

    Returns:
        Cell (variant, shape, threads) → contender → ratio of medians.

    Example:
        >>> speedups(dict(records=[]))
        {}
    """
    ratios = {}
    for cell, records in cells_of(document).items():
        base = min(records[name]['median_ms'] for name in BASES)
        ratios[cell] = {name: base / record['median_ms'] for name, record in records.items()}
    return ratios


def markdown_tables(document: dict) -> str:
    """The page of the benchmark.

    Args:
        document: As for :func:`speedups`, with records of profiles and training.

    Returns:
        Markdown.
    """
    cells, ratios = cells_of(document), speedups(document)
    means = {label: geometric_mean(row[label] for row in ratios.values()) for label in LABELS}
    machine, records = document['machine'], document['records']
    flagged = [
        (name_of(cell), [f'{label} ({"; ".join(record["flags"])})' for label, record in row.items() if record['flags']])
        for cell, row in cells.items()
    ]
    return PAGE.format(
        machine=f'{machine["cpu"]}, {machine["cores"]} cores',
        dates=dates(records),
        commits=commits(records),
        packages=', '.join(f'{name} {version}' for name, version in machine['packages'].items()),
        ratios=table(
            ['', *LABELS],
            [
                *([name_of(cell), *(f'{row[label]:.2f}' for label in LABELS)] for cell, row in ratios.items()),
                ['geometric mean', *(f'**{means[label]:.2f}**' for label in LABELS)],
            ],
        ),
        bf16=difference_in(cells, 'bf16'),
        int8=difference_in(cells, 'int8'),
        latencies=table(
            ['', *LABELS],
            [[name_of(cell), *(latency(row[label]) for label in LABELS)] for cell, row in cells.items()],
        ),
        flags='\n'.join(f'- \\* {name}: {", ".join(reasons)}' for name, reasons in flagged if reasons),
        shares=table(
            ['', 'peak (GFLOP/s)', *FP32],
            [
                [
                    name_of(cell),
                    f'{row[BASES[0]]["peak_gflops"]:.0f}',
                    *(f'{peak_share(row[label]):.0%}' for label in FP32),
                ]
                for cell, row in cells.items()
            ],
        ),
        profiles=profile_table(of_kind(document, 'profile')),
        training=training_table(of_kind(document, 'training')),
    )


def peak_share(record: dict) -> float:
    return 2 * record['flops'] / record['median_ms'] / 1e6 / record['peak_gflops']


def difference_in(cells: dict[Cell, dict[str, dict]], precision: str) -> float:
    records = [record for row in cells.values() for record in row.values()]
    return max(record['max_difference'] for record in records if record['precision'] == precision)


def profile_table(records: list[dict]) -> str:
    parts = dict.fromkeys(part for record in records for part in record['parts'])
    return table(
        ['', *(name_of(cell_of(record)) for record in records)],
        [[part, *(f'{record["parts"].get(part, 0):.1%}' for record in records)] for part in parts],
    )


def training_table(records: list[dict]) -> str:
    base = next(record for record in records if record['contender'] == 'as it is')
    height, width = base['shape']
    return f'Forward and backward of {base["batch"]} × 3 × {height} × {width}, {base["threads"]} threads.\n\n' + table(
        ['', 'held for backward (MiB)', 'ratio', 'median (ms)', 'quartiles (ms)', 'ratio'],
        [
            [
                record['label'],
                f'{record["held_mib"]:.0f}',
                f'{record["held_mib"] / base["held_mib"]:.2f}',
                f'{record["median_ms"]:.0f}',
                '–'.join(f'{value:.0f}' for value in record['quartiles_ms']),
                f'{record["median_ms"] / base["median_ms"]:.2f}',
            ]
            for record in records
        ],
    )


@matplotlib.rc_context(STYLE)
def draw_engines(document: dict) -> Figure:
    """Each contender's speed in each cell, as times of the faster of timm and the reference path.

    Args:
        document: As for :func:`speedups`.

    Returns:
        The figure: a line for each cell, a mark for each contender, hollow where it is not fp32.
    """
    ratios = speedups(document)
    figure = Figure(figsize=(8, 1.8 + 0.38 * len(ratios)), layout='constrained')
    axes = figure.add_subplot()
    for index, contender in enumerate(CONTENDERS):
        axes.plot(
            [row[contender.label] for row in ratios.values()],
            range(len(ratios)),
            marker=MARKERS[index],
            color=COLOURS[index],
            markerfacecolor=COLOURS[index] if contender.precision == 'fp32' else 'white',
            linestyle='none',
            markersize=8,
            label=contender.label,
        )
    axes.set_yticks(range(len(ratios)), [name_of(cell) for cell in ratios])
    axes.invert_yaxis()
    axes.set_xscale('log')
    ticks = [
        tick
        for tick in (0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8)
        if tick <= 1.1 * max(map(max, map(dict.values, ratios.values())))
    ]
    axes.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
    axes.minorticks_off()
    axes.axvline(1, color='#222222', linewidth=1)
    axes.set_xlabel('times as fast as the faster of timm and the reference path (log scale)')
    figure.suptitle(f'FasterNet backbones, batch 1, measured on {document["machine"]["cpu"]}', fontsize=11)
    figure.legend(loc='outside lower center', ncols=3, frameon=False)
    return figure


def write_engines_report(document: dict, out_dir: str | Path) -> dict[str, Path]:
    """Write the page and the picture.

    Args:
        document: As for :func:`markdown_tables`.
        out_dir: Folder, made if it is missing.

    Returns:
        Name → path of engines.md and engines.png.
    """
    files = {'engines.md': markdown_tables(document).encode(), 'engines.png': encode(draw_engines(document), 'png')}
    return {name: write_whole(Path(out_dir, name), content) for name, content in files.items()}
