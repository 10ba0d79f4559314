"""What was measured on a GPU: the ways to run a backbone, cell by cell, and which of them is faster."""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from statistics import geometric_mean

from mmfasternet.benchmark.measure.turns import is_tie
from mmfasternet.benchmark.records import Records

__all__ = [
    'Cell',
    'aims',
    'cells_of',
    'form_of',
    'is_tied',
    'is_worth',
    'peaks_of',
    'run_ms',
    'slower_than_plain',
    'speedups',
    'slower_than_timm',
    'standings',
    'training_cell',
    'ways_of',
]

# As records call them; each may also be replayed as a CUDA graph.
_PLAIN = ('timm, NCHW', 'timm', 'reference, NCHW', 'reference', 'folded, NCHW', 'folded')
_OURS = ('optimized', 'fused')
_COMPILED = ('reduce-overhead', 'max-autotune')
_GRAPH = ', graph'
_ORDER = (*_PLAIN, *_OURS, *(f'{way}{_GRAPH}' for way in (*_PLAIN, *_OURS)), *_COMPILED)
_FORMS = {'optimized': 'products', 'fused': 'fused', 'reduce-overhead': 'compiled', 'max-autotune': 'max-autotune'}
# What is compared with what: ours, the other.
_PAIRS = (
    *((ours + end, f'folded{end}') for ours in _OURS for end in ('', _GRAPH)),
    *((f'{ours}{_GRAPH}', other) for ours in _OURS for other in _COMPILED),
    (f'fused{_GRAPH}', f'optimized{_GRAPH}'),
)
# What is aimed at on an H100 in half precision: variant, batch of 224 × 224, and ms for one or images/s for many.
_AIMS = (('t0', 1, 0.15), ('t0', 256, 220_000), ('s', 256, 41_000))
# How many times as fast as max-autotune the fused kernel must be in T0 and T1 to be worth its code.
_WORTH = 1.3


@dataclass(frozen=True)
class Cell:
    """What is compared with each other: a variant on a batch of images, in one precision."""

    arch: str
    shape: tuple[int, int]
    batch: int
    precision: str
    weights: str

    @property
    def title(self) -> str:
        """What tables and plots call it."""
        by = ' by autocast' if self.weights == 'autocast' else ''
        return f'{self.arch.upper()}, {self.shape[0]} × {self.shape[1]}, batch {self.batch}, {self.precision}{by}'


def cells_of(records: Records) -> dict[Cell, dict[str, dict]]:
    """The latencies, sorted.

    Args:
        records: Of a GPU, or of a rehearsal on a CPU.

    Returns:
        Cell → way → record, the ways in the order of the tables.
    """
    cells: dict[Cell, dict[str, dict]] = {}
    for record in records.of_kind('latency', scope='backbone'):
        if 'contender' in record:
            key = record['arch'], tuple(record['shape']), record['batch'], record['precision'], record['weights']
            cells.setdefault(Cell(*key), {})[_way(record)] = record
    return {cell: {way: row[way] for way in _sorted(row)} for cell, row in cells.items()}


def ways_of(cells: dict[Cell, dict[str, dict]]) -> list[str]:
    """All ways of some cells, in the order of the tables."""
    return _sorted({way for row in cells.values() for way in row})


def form_of(way: str) -> str:
    """The form of the predictions that a way is.

    Example:
        >>> form_of('optimized, graph'), form_of('folded')
        ('products', 'eager')
    """
    return _FORMS.get(way.removesuffix(_GRAPH), 'eager')


def run_ms(record: dict) -> float:
    """Milliseconds of a run among many in a row; on a CPU, where all are waited for, the median.

    Example:
        >>> run_ms(dict(median_ms=0.3, stream_ms=0.08))
        0.08
    """
    return record.get('stream_ms') or record['median_ms']


def is_tied(record: dict, other: dict) -> bool:
    """Whether runs in a row differ by no more than 5 %.

    Example:
        >>> is_tied(dict(stream_ms=0.080), dict(stream_ms=0.083))
        True
    """
    values = run_ms(record), run_ms(other)
    # A run in a row has no quartiles of its own.
    return is_tie(*(dict(median_ms=value, quartiles_ms=[value, value]) for value in values))


def speedups(cells: dict[Cell, dict[str, dict]]) -> dict[Cell, dict[str, float]]:
    """How many times as fast as the fastest plain network in eager PyTorch each way is, run after run."""
    ratios = {}
    for cell, row in cells.items():
        plain = [run_ms(record) for way, record in row.items() if way in _PLAIN]
        if plain:
            ratios[cell] = {way: min(plain) / run_ms(record) for way, record in row.items()}
    return ratios


def slower_than_plain(cells: dict[Cell, dict[str, dict]]) -> Iterator[str]:
    """The cells in which a form of ours is slower than the folded plain network in channels_last, worst first."""
    found, compared, flagged = [], 0, 0
    for ours, other in _PAIRS:
        if not other.startswith('folded'):
            continue
        for cell, row in cells.items():
            if ours in row and other in row:
                if row[ours]['flags'] or row[other]['flags']:
                    flagged += 1
                    continue
                compared += 1
                found += [
                    (ratio, f'**{cell.title}**: {ours} takes {ratio:.2f} times as long as {other}, {clock}.')
                    for ratio, clock in _slower(row[ours], row[other])
                ]
    left_out = f' Left out for flagged figures: {flagged}.' if flagged else ''
    count = f'{2 * compared} comparisons (each pair by two clocks)'
    if found:
        yield (
            f'Slower than the folded plain network in channels_last in {len(found)} of {count}; '
            f'there should be none.{left_out}'
        )
        yield from (text for _, text in sorted(found, key=itemgetter(0), reverse=True))
    elif compared:
        yield (f'In none of {count} is a form of ours slower than the folded plain network in channels_last.{left_out}')


def training_cell(record: dict) -> dict:
    """The fields in which trainings agree that are compared with each other."""
    return {key: record.get(key) for key in ('arch', 'shape', 'batch', 'precision', 'memory_format')}


def slower_than_timm(records: Records) -> Iterator[str]:
    """The training steps in which timm's backbone takes less time than ours, without recomputation."""
    for ours in records.of_kind('training', contender='as it is'):
        for other in records.of_kind('training', contender='timm', **training_cell(ours)):
            if other['median_ms'] < ours['median_ms'] and not is_tie(ours, other):
                yield (
                    f"timm's training step takes {other['median_ms'] / ours['median_ms']:.2f} times as long as ours "
                    f'({ours["arch"].upper()}, batch {ours["batch"]}, {ours["precision"]}, {ours["memory_format"]}).'
                )


def is_worth(cells: dict[Cell, dict[str, dict]]) -> Iterator[str]:
    """Whether the fused kernel is as much faster than max-autotune as it must be, run after run."""
    ratios = {}
    for cell, row in cells.items():
        times = {way: run_ms(record) for way, record in row.items() if not record['flags']}
        fused = [time for way, time in times.items() if form_of(way) == 'fused']
        if cell.arch in ('t0', 't1') and fused and 'max-autotune' in times:
            ratios[cell] = times['max-autotune'] / min(fused)
    missed = [f'{ratio:.2f} ({cell.title})' for cell, ratio in ratios.items() if ratio < _WORTH]
    if ratios:
        yield f'The fused kernel should be at least {_WORTH} times as fast as max-autotune in T0 and T1; ' + (
            f'it is not, in {len(missed)} of {len(ratios)} cells: {", ".join(missed)}.'
            if missed
            else f'it is, in all {len(ratios)} cells, {geometric_mean(ratios.values()):.2f} times on average.'
        )


def aims(cells: dict[Cell, dict[str, dict]]) -> Iterator[str]:
    """What was aimed at on an H100, and what the fastest of our forms reaches, misses first.

    Args:
        cells: From :func:`cells_of`.

    Yields:
        A sentence for each aim whose cell was measured.
    """
    found = []
    for arch, batch, aim in _AIMS:
        cell = Cell(arch, (224, 224), batch, 'fp16', 'cast')
        ours = [(way, record) for way, record in cells.get(cell, {}).items() if way.removesuffix(_GRAPH) in _OURS]
        # Of one image, what a caller waits; of many, the throughput.
        times = {
            way: record['median_ms'] if batch == 1 else run_ms(record) for way, record in ours if not record['flags']
        }
        if not times:
            continue
        way = min(times, key=times.get)
        if batch == 1:
            text, missed = f'at most {aim:g} ms aimed at, {times[way]:.3g} ms measured', times[way] > aim
        else:
            value = 1000 * batch / times[way]
            text, missed = f'{aim:,} images/s aimed at, {value:,.0f} measured', value < aim
        found.append((not missed, f'{cell.title}: {text} ({way}){", **missed**" * missed}.'))
    yield from (text for _, text in sorted(found))


def standings(cells: dict[Cell, dict[str, dict]]) -> Iterator[str]:
    """How our forms stand to the others, run after run; what they are slower than comes first."""
    found = []
    for ours, other in _PAIRS:
        rows = [row for row in cells.values() if ours in row and other in row]
        pairs = [(row[ours], row[other]) for row in rows if not (row[ours]['flags'] or row[other]['flags'])]
        if pairs:
            ratio = geometric_mean(run_ms(one) / run_ms(two) for one, two in pairs)
            ties = sum(is_tied(one, two) for one, two in pairs)
            slower = sum(run_ms(one) > run_ms(two) and not is_tied(one, two) for one, two in pairs)
            text = (
                f'*{ours}* takes {ratio:.2f} times as long as *{other}* run after run (geometric mean): slower '
                f'in {slower}, tied in {ties} and faster in {len(pairs) - slower - ties} of {len(pairs)} cells.'
            )
            found.append((ratio, text))
    yield from (text for _, text in sorted(found, key=itemgetter(0), reverse=True))


def peaks_of(records: Records) -> dict[str, float]:
    """The ceilings that were measured: `bandwidth_gb_s`, and `…_gmacs` of each precision."""
    return {key: value for record in records.of_kind('gpu', part='peaks') for key, value in record['figures'].items()}


def _way(record: dict) -> str:
    """What tables call a way: contiguous tensors and graphs are named, whatever the record calls it."""
    way = record['contender'].removesuffix(_GRAPH)
    if record.get('memory_format') == 'contiguous' and 'NCHW' not in way:
        way += ', NCHW'
    return way + _GRAPH * (record['backend'] == 'graph')


def _sorted(ways: set[str] | dict) -> list[str]:
    return sorted(ways, key=lambda way: (_ORDER.index(way) if way in _ORDER else len(_ORDER), way))


def _slower(ours: dict, other: dict) -> Iterator[tuple[float, str]]:
    """By how much, and by which clock, where it is no tie."""
    if run_ms(ours) > run_ms(other) and not is_tied(ours, other):
        yield run_ms(ours) / run_ms(other), 'run after run'
    if ours['median_ms'] > other['median_ms'] and not is_tie(ours, other):
        yield ours['median_ms'] / other['median_ms'], 'each run waited for'
