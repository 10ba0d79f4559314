"""What was measured on a GPU, as tables in Markdown."""

from collections.abc import Callable, Iterator

from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.markdown import bullets, latency, milliseconds, table

from .measured import Cell, cells_of, form_of, is_tied, peaks_of, run_ms, speedups, training_cell, ways_of
from .predict import Card, network_work, predict
from .predicted import images

__all__ = ['measured_tables']

_MISSING = 'Not measured.'
_VALUE_BYTES = dict(fp16=2, bf16=2, tf32=4, fp32=4)


def measured_tables(records: Records) -> dict[str, str]:
    """The tables of the page, as far as there are records for them.

    Args:
        records: What was measured on a GPU, or in a rehearsal on a CPU.

    Returns:
        Name in the page's template → Markdown.
    """
    cells, peaks = cells_of(records), peaks_of(records)
    return dict(
        ratios=_ratios_table(cells),
        throughput=_throughput_table(cells),
        latencies=_by_way(
            cells, lambda cell, way, record: milliseconds(record['median_ms']) + ' \\*' * bool(record['flags'])
        ),
        flags=bullets(_flags(cells)),
        runs=_by_way(cells, lambda cell, way, record: milliseconds(run_ms(record))),
        peaks=_peaks(peaks),
        shares=_by_way(cells, lambda cell, way, record: _shares(cell, way, record, peaks)),
        predicted=_predicted_table(cells, peaks),
        memory=_by_way(cells, lambda cell, way, record: _optional(record.get('peak_mib'), ',.0f')),
        compiling=_by_way(cells, lambda cell, way, record: _optional(record.get('compile_s'), '.0f')),
        differences=_differences_table(records),
        kernels=_kernels_table(records),
        training=_training_table(records),
        detectors=_detectors_table(records),
        demo=_demo(records),
    )


def _by_way(cells: dict[Cell, dict[str, dict]], text: Callable[[Cell, str, dict], str]) -> str:
    """A table of cells and ways; what has no text in any cell is left out."""
    texts = {cell: {way: text(cell, way, record) for way, record in row.items()} for cell, row in cells.items()}
    ways = [way for way in ways_of(cells) if any(row.get(way) for row in texts.values())]
    rows = [[cell.title, *(row.get(way, '') for way in ways)] for cell, row in texts.items() if any(row.values())]
    return table(['', *ways], rows) if rows else _MISSING


def _ratios_table(cells: dict[Cell, dict[str, dict]]) -> str:
    ratios = speedups(cells)
    bases = {cell: next(way for way, ratio in row.items() if ratio == 1) for cell, row in ratios.items()}

    def text(cell: Cell, way: str, record: dict) -> str:
        if cell not in ratios:
            return ''
        tie = way != bases[cell] and is_tied(record, cells[cell][bases[cell]])
        return f'{ratios[cell][way]:.2f}' + ' =' * tie + ' \\*' * bool(record['flags'])

    return _by_way(cells, text)


def _throughput_table(cells: dict[Cell, dict[str, dict]]) -> str:
    """As the paper's Table 3, which has batches of 32, beside that and timm's, whose batches are large."""
    paper = {row['network']: row['gpu_throughput_fps'] for row in published('table3_imagenet')}
    throughputs = {row['timm_name']: row for row in published('throughput_gpu_timm')}
    ways, rows = ways_of(cells), []
    for cell, row in cells.items():
        square, arch = cell.shape == (224, 224), cell.arch
        timm = throughputs[f'fasternet_{arch}'] if square and cell.batch >= 256 else {}
        figures = [images(1000 * cell.batch / run_ms(row[way])) if way in row else '' for way in ways]
        others = [
            paper[f'FasterNet-{arch.upper()}'] if square and cell.batch == 32 else None,
            *(timm.get(f'rtx5090_{mode}') for mode in ('eager', 'compiled')),
        ]
        rows.append([cell.title, *figures, *('' if text is None else f'{int(text):,}' for text in others)])
    head = ['RTX 2080 Ti, *published*', 'RTX 5090, eager, *published*', 'RTX 5090, compiled, *published*']
    return table(['', *ways, *head], rows)


def _flags(cells: dict[Cell, dict[str, dict]]) -> Iterator[str]:
    """Why figures of a cell are flagged, and which."""
    for cell, row in cells.items():
        ways: dict[str, list[str]] = {}
        for way, record in row.items():
            for reason in record['flags']:
                ways.setdefault(reason, []).append(way)
        if ways:
            reasons = (f'{"all" if len(found) == len(row) else "; ".join(found)}: {why}' for why, found in ways.items())
            yield f'\\* {cell.title}. {". ".join(reasons)}'


def _peaks(peaks: dict[str, float]) -> str:
    texts = [f'{peaks[key]:,.0f} GB/s' for key in ('bandwidth_gb_s',) if key in peaks]
    speeds = {key.removesuffix('_gmacs'): value for key, value in peaks.items() if key.endswith('_gmacs')}
    texts += [f'{value / 1000:.3g} T multiply-adds/s in {precision}' for precision, value in speeds.items()]
    return f'They are {", ".join(texts)}.' if texts else 'They were not measured.'


def _card(precision: str, peaks: dict[str, float]) -> Card | None:
    """The measured ceilings in a precision, None if one is missing."""
    if not {'bandwidth_gb_s', f'{precision}_gmacs'} <= peaks.keys():
        return None
    return Card('measured', peaks['bandwidth_gb_s'] / 1000, 2 * peaks[f'{precision}_gmacs'] / 1000)


def _shares(cell: Cell, way: str, record: dict, peaks: dict[str, float]) -> str:
    card = _card(cell.precision, peaks)
    if card is None:
        return ''
    works = list(network_work(cell.arch, form_of(way), cell.shape, cell.batch, out_norm='timm' not in way))
    terabytes = sum(work.elements for work in works) * _VALUE_BYTES[cell.precision] / 1e12
    teraflops = 2 * sum(work.flops for work in works) / 1e12
    seconds = run_ms(record) / 1000
    return f'{terabytes / seconds / card.tb_s:.0%} / {teraflops / seconds / card.tflops:.0%}'


def _predicted_table(cells: dict[Cell, dict[str, dict]], peaks: dict[str, float]) -> str:
    forms = list(dict.fromkeys(form_of(way) for way in ways_of(cells)))
    rows = []
    for cell, row in cells.items():
        card = _card(cell.precision, peaks)
        if card is None:
            continue
        texts = []
        for form in forms:
            measured = [run_ms(record) for way, record in row.items() if form_of(way) == form]
            found = predict(cell.arch, form, cell.shape, cell.batch, card, _VALUE_BYTES[cell.precision])
            times = [found.fastest_ms, found.slowest_ms]
            expected = (
                '–'.join(dict.fromkeys(map(milliseconds, times)))
                if found.throughput
                else f'≥ {milliseconds(found.floor_ms)}'
            )
            texts.append(f'{expected} / **{milliseconds(min(measured))}**' if measured else '')
        rows.append([cell.title, *texts])
    return table(['', *forms], rows) if rows else _MISSING


def _differences_table(records: Records) -> str:
    found = records.of_kind('gpu', part='differences')
    ways = list(dict.fromkeys(way for record in found for way in record['figures']))
    rows = []
    for record in found:
        height, width = record['settings']['shape'][-2:]
        title = f'{record["label"]}, {height} × {width}, {record["settings"]["precision"]}'
        rows.append([title, *(_optional(record['figures'].get(way), '.1e') for way in ways)])
    return table(['', *ways], rows) if rows else _MISSING


def _kernels_table(records: Records) -> str:
    rows = []
    for record in records.of_kind('gpu', part='kernel'):
        settings, figures = record['settings'], record['figures']
        rows.append(
            [
                f'{settings["channels"]} channels, {settings["activation"]}, {settings["precision"]}',
                milliseconds(figures['stream_ms']),
                _optional(figures.get('gmacs_s'), ',.0f'),
                _optional(figures.get('shared_kib'), '.0f'),
                str(figures.get('config', '')),
            ]
        )
    return table(['block', 'ms', 'GMAC/s', 'shared memory (KiB)', 'tiles'], rows) if rows else _MISSING


def _training_table(records: Records) -> str:
    rows = []
    for record in records.of_kind('training'):
        base = next(iter(records.of_kind('training', **{**training_cell(record), 'contender': 'as it is'})), None)
        height, width = record['shape']
        rows.append(
            [
                f'{record["arch"].upper()}, {record["batch"]} × 3 × {height} × {width}, {record["contender"]}, '
                f'{record.get("precision", "fp32")}, {record.get("memory_format", "contiguous")}',
                f'{record["held_mib"]:,.0f}',
                f'{record["held_mib"] / base["held_mib"]:.2f}' if base else '',
                milliseconds(record['median_ms']),
                f'{record["median_ms"] / base["median_ms"]:.2f}' if base else '',
            ]
        )
    head = ['', 'held for the backward pass (MiB)', 'of *as it is*', 'forward and backward (ms)', 'of *as it is*']
    return table(head, rows) if rows else _MISSING


def _detectors_table(records: Records) -> str:
    """Latencies that are no contender's: those of detectors, by path."""
    rows: dict[tuple, dict[str, dict]] = {}
    for record in records.of_kind('latency'):
        if 'contender' not in record:
            key = record['label'], record['scope'], record['precision'], *record['shape'], record['batch']
            rows.setdefault(key, {})[record['path']] = record
    paths = list(dict.fromkeys(path for row in rows.values() for path in row))
    lines = []
    for (label, scope, precision, height, width, batch), row in rows.items():
        title = f'{label}, {scope}, {height} × {width}, batch {batch}, {precision}'
        lines.append([title, *(latency(row[path]) if path in row else '' for path in paths)])
    return table(['', *paths], lines) if lines else _MISSING


def _demo(records: Records) -> str:
    found = records.of_kind('gpu', part='demo')
    if not found:
        return _MISSING
    figures, settings = found[-1]['figures'], found[-1]['settings']
    aps = ', '.join(f'{key} {value:.3f}' for key, value in figures.items() if key != 'seconds')
    options = ' '.join([*['--amp'] * settings['amp'], '--cfg-options', *settings['options']])
    return f'`tools/train.py {settings["config"]} {options}` took {figures["seconds"]:.0f} s with its data; {aps}.'


def _optional(value: float | None, form: str) -> str:
    return '' if value is None else f'{value:{form}}'
