"""FasterNet in every engine as a page and a plot, from its records."""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import geometric_mean

import matplotlib
from matplotlib.figure import Figure

from mmfasternet.benchmark.measure.turns import is_tie
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.markdown import bullets, commits, dates, escape_records, latency, table
from mmfasternet.benchmark.report.style import COLOURS, MARKERS, STYLE, encode
from mmfasternet.errors import UserError
from mmfasternet.files import write_file

from .measure import ENGINES, Cell, Engine, lacks

__all__ = ['draw_engines', 'engines_page', 'speedups', 'write_engines']

_BASES = ('timm', 'reference')
_OURS = 'optimized'
_FLAGGED = ' \\*'
_MEAN = 'geometric mean'
# In place of a table, where a run was interrupted before it.
_MISSING = 'Not measured yet.'

_PAGE = """# FasterNet in every engine

Drawn from `records.json` by `tools/benchmark/engines.py`; not edited by hand.

In fp32:

{verdict}

Measured on {machine}, {dates}, commit {commits}, with {packages}. The backbone alone, batch 1, the same weights in
every engine, all models of a cell in memory and in turn. The times are an illustration; the ratios were taken side by
side.

![Speed of each engine](engines.png)

## Speed as a multiple of the faster of timm and the reference path

\\*: a figure that it is made of is flagged; the mean leaves it out.

{ratios}

{others}

{machines}## Latency in ms

{latencies}

{flags}

## Share of the machine's peak

The peak is the faster of torch's and oneDNN's product of two 2048 × 2048 matrices in fp32, measured between the rounds,
in multiply-adds per second (GMAC/s).

{shares}

## Where the time of the optimized backbone goes

{profiles}

## Training

{training}
"""

_MACHINES = """## The optimized backbone on other machines

The same multiple for the optimized backbone, on each machine that was measured. An empty cell was not measured.

{table}

"""


def speedups(records: Records) -> dict[Cell, dict[str, float]]:
    """How many times as fast as the faster of timm and the reference path each engine is."""
    ratios = {}
    for cell, found in _cells(records).items():
        base = min(found[name]['median_ms'] for name in _BASES)
        ratios[cell] = {name: base / record['median_ms'] for name, record in found.items()}
    return ratios


def engines_page(records: Records, others: Sequence[Records] = ()) -> str:
    """The page of the benchmark on one machine, with the optimized backbone's speed on others beside it."""
    records = escape_records(records)
    cells, ratios, engines = _cells(records), speedups(records), _present(records)
    labels, fp32 = [engine.label for engine in engines], _labels(engines, 'fp32')
    flagged = [
        (cell.title, [f'{label} ({"; ".join(record["flags"])})' for label, record in row.items() if record['flags']])
        for cell, row in cells.items()
    ]
    speeds = [[cell.title, *(_speed(cells[cell], ratios[cell], label) for label in labels)] for cell in cells]
    speeds.append([_MEAN, *(_mean_speed(cells, ratios, label) for label in labels)])
    latencies = [[cell.title, *(latency(row[label]) for label in labels)] for cell, row in cells.items()]
    shares = [
        [cell.title, f'{row[_OURS]["peak_gmacs"]:.0f}', *(f'{_peak_share(row[label]):.0%}' for label in fp32)]
        for cell, row in cells.items()
    ]
    return _PAGE.format(
        verdict=bullets(_verdict(cells, fp32)),
        machine=_machine(records),
        dates=dates(records.records),
        commits=commits(records.records),
        packages=', '.join(f'{name} {version}' for name, version in records.machine['packages'].items()),
        ratios=table(['', *labels], speeds),
        others=bullets(_other_precisions(cells, engines, records)),
        machines=_machines_table([records, *map(escape_records, others)]) if others else '',
        latencies=table(['', *labels], latencies),
        flags=bullets(f'\\* {title}: {", ".join(reasons)}' for title, reasons in flagged if reasons),
        shares=table(['', 'peak (GMAC/s)', *fp32], shares),
        profiles=_profile_table(records.of_kind('profile')),
        training=_training_table(records.of_kind('training')),
    )


@matplotlib.rc_context(STYLE)
def draw_engines(records: Records) -> Figure:
    """Each engine's speed in each cell, as a multiple of the faster of timm and the reference path."""
    ratios = speedups(records)
    figure = Figure(figsize=(8, 1.8 + 0.38 * len(ratios)), layout='constrained')
    axes = figure.add_subplot()
    for index, engine in enumerate(ENGINES):
        if lacks(engine, records):
            continue
        hollow = {} if engine.precision == 'fp32' else dict(markerfacecolor='white')
        style = dict(color=COLOURS[index], marker=MARKERS[index], markersize=8, linestyle='none', **hollow)
        axes.plot([row[engine.label] for row in ratios.values()], range(len(ratios)), label=engine.label, **style)
    axes.set_yticks(range(len(ratios)), [cell.title for cell in ratios])
    axes.invert_yaxis()
    axes.set_xscale('log')
    fastest = max(max(row.values()) for row in ratios.values())
    ticks = [tick for tick in (0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8) if tick <= 1.1 * fastest]
    axes.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
    axes.minorticks_off()
    axes.axvline(1, color='#222222', linewidth=1)
    axes.set_xlabel('speed as a multiple of the faster of timm and the reference path (log scale)')
    figure.suptitle(f'FasterNet backbones, batch 1, measured on {records.machine["cpu"]}', fontsize=11)
    figure.legend(loc='outside lower center', ncols=3, frameon=False)
    return figure


def write_engines(records: Records, out_dir: str | Path) -> dict[str, Path]:
    """Write the page and the plot.

    Args:
        records: Of latencies, profiles and training, from :func:`~mmfasternet.benchmark.engines.measure.measure_all`.
        out_dir: Folder, made if it is missing. Records in folders within it are those of other machines, which the
            page shows beside these.

    Returns:
        Name → path of engines.md and engines.png.

    Raises:
        UserError: If no cell is complete yet, or a file can't be written.
    """
    if not _cells(records):
        raise UserError(f'nothing to draw in {out_dir} yet: no cell is complete; run without --report-only first')
    others = [Records.read(path) for path in sorted(Path(out_dir).glob('*/records.json'))]
    files = {'engines.md': engines_page(records, others).encode(), 'engines.png': encode(draw_engines(records))}
    return {name: write_file(Path(out_dir, name), content) for name, content in files.items()}


def _cells(records: Records) -> dict[Cell, dict[str, dict]]:
    """Cell → label of the engine → latency record, in the order they were measured, of the complete cells."""
    cells: dict[Cell, dict[str, dict]] = {}
    for record in records.of_kind('latency'):
        if 'contender' in record:
            cells.setdefault(_cell_of(record), {})[record['contender']] = record
    labels = {engine.label for engine in _present(records)}
    return {cell: row for cell, row in cells.items() if row.keys() >= labels}


def _machine(records: Records) -> str:
    machine = records.machine
    return ', '.join([machine['cpu'], f'{machine["cores"]} cores', *machine.get('instructions', [])])


def _machines_table(machines: Sequence[Records]) -> str:
    """The optimized backbone's speed: a line for each cell, a column for each machine."""
    found = [(_cells(records), speedups(records)) for records in machines]

    rows = [
        [cell.title, *(_speed(cells[cell], ratios[cell], _OURS) if cell in ratios else '' for cells, ratios in found)]
        for cell in found[0][0]
    ]
    rows.append([_MEAN, *(_mean_speed(*machine, _OURS) for machine in found)])
    return _MACHINES.format(table=table(['', *map(_machine, machines)], rows))


def _is_flagged(row: dict[str, dict], label: str) -> bool:
    return any(row[name]['flags'] for name in (*_BASES, label))


def _speed(row: dict[str, dict], ratios: dict[str, float], label: str) -> str:
    return f'{ratios[label]:.2f}{_FLAGGED if _is_flagged(row, label) else ""}'


def _mean_speed(cells: dict[Cell, dict[str, dict]], ratios: dict[Cell, dict[str, float]], label: str) -> str:
    found = [ratios[cell][label] for cell, row in cells.items() if not _is_flagged(row, label)]
    return f'**{geometric_mean(found):.2f}**' if found else ''


def _present(records: Records) -> list[Engine]:
    """The engines that the machine of the records has."""
    return [engine for engine in ENGINES if not lacks(engine, records)]


def _labels(engines: list[Engine], precision: str) -> list[str]:
    return [engine.label for engine in engines if engine.precision == precision]


def _cell_of(record: dict) -> Cell:
    return Cell(record['arch'], tuple(record['shape']), record['threads'])


def _verdict(cells: dict[Cell, dict[str, dict]], fp32: list[str]) -> Iterator[str]:
    """How the optimized backbone stands to each other engine in fp32; what it is slower than comes first."""
    found = {}
    for label in fp32:
        pairs = [(row[_OURS], row[label]) for row in cells.values() if not (row[_OURS]['flags'] or row[label]['flags'])]
        if label != _OURS and pairs:
            found[geometric_mean(ours['median_ms'] / other['median_ms'] for ours, other in pairs), label] = pairs
    for (ratio, label), pairs in sorted(found.items(), key=itemgetter(0), reverse=True):
        ties = sum(is_tie(ours, other) for ours, other in pairs)
        slower = sum(ours['median_ms'] > other['median_ms'] and not is_tie(ours, other) for ours, other in pairs)
        yield (
            f'Optimized FasterNet takes {ratio:.2f} times as long as {label} (geometric mean): it is slower in '
            f'{slower}, tied in {ties} and faster in {len(pairs) - slower - ties} of {len(pairs)} cells.'
        )
    yield 'A tie is medians within 5 % of each other, or quartiles that overlap. Flagged figures are left out.'


def _peak_share(record: dict) -> float:
    return record['flops'] / record['median_ms'] / 1e6 / record['peak_gmacs']


def _other_precisions(cells: dict[Cell, dict[str, dict]], engines: list[Engine], records: Records) -> Iterator[str]:
    """What other precisions than fp32 compute, and what the machine lacks."""
    for precision in dict.fromkeys(engine.precision for engine in engines if engine.precision != 'fp32'):
        labels = _labels(engines, precision)
        found = [row[label] for row in cells.values() for label in labels]
        bits = {str(record.get('weight_bits', 8)) for record in found}
        largest = max(record['max_difference'] for record in found)
        how = (
            f' ({" or ".join(sorted(bits))} bits of weights, calibrated on this one image)'
            if precision == 'int8'
            else ''
        )
        yield (
            f'{", ".join(labels)}: with random weights, the feature maps differ from those in fp32 by up to '
            f'{largest:.1%} of the largest value{how}. What that means for AP is in [the guide](../../deploy.md).'
        )
    # The profile of each variant may be among them.
    yield from dict.fromkeys(
        f'{record["label"]} is left out on this machine: {record["reason"]}.' for record in records.of_kind('lacking')
    )


def _profile_table(found: list[dict]) -> str:
    if not found:
        return _MISSING
    parts = dict.fromkeys(part for record in found for part in record['parts'])
    return table(
        ['', *(_cell_of(record).title for record in found)],
        [[part, *(f'{record["parts"].get(part, 0):.1%}' for record in found)] for part in parts],
    )


def _training_table(found: list[dict]) -> str:
    base = next((record for record in found if record['contender'] == 'as it is'), None)
    if base is None:
        return _MISSING
    height, width = base['shape']
    title = f'Forward and backward pass of {base["batch"]} × 3 × {height} × {width}, {base["threads"]} threads.'
    rows = [
        [
            record['label'],
            f'{record["held_mib"]:.0f}',
            f'{record["held_mib"] / base["held_mib"]:.2f}',
            f'{record["median_ms"]:.0f}',
            '–'.join(f'{value:.0f}' for value in record['quartiles_ms']),
            f'{record["median_ms"] / base["median_ms"]:.2f}',
        ]
        for record in found
    ]
    head = ['', 'held for the backward pass (MiB)', 'ratio', 'median (ms)', 'quartiles (ms)', 'ratio']
    return f'{title}\n\n{table(head, rows)}'
