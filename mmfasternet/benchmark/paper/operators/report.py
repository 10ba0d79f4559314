"""The page of operators, from the records and the paper's tables."""

from collections.abc import Iterator

from mmfasternet.benchmark.measure.turns import is_tie
from mmfasternet.benchmark.paper.report import Report, Statement
from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.markdown import bullets, flagged, latency, milliseconds, span, table

from .figures import (
    batches,
    complete,
    gmacs,
    intensity,
    layers_of,
    limits,
    networks_of,
)
from .plot import draw_operators

__all__ = ['REPORT', 'truncated']

_PCONV, _PAIR = 'pconv3x3_ratio1/4', 'pconv_pwconv'
_EQUAL = ('dwconv_pwconv_widened', 'dwconv_widened', 'tconv')
# What is compared: an operator of the paper, and the others.
_COMPARED = {_PCONV: ('conv3x3', 'gconv3x3_16groups', 'dwconv3x3', 'pconv3x3_in_place'), _PAIR: _EQUAL}
# Networks whose FLOPs differ by less than this factor have about the same.
_NEAR = 1.2
# What Table 1 has of a batch: the device, its GMAC/s, and its latency or throughput.
_PRINTED = {1: ('CPU', 'cpu_gflops_per_s', 'cpu_latency_ms'), 32: ('GPU', 'gpu_gflops_per_s', 'gpu_throughput_fps')}

_BODY = """## Costs of ten layers

Memory accesses are the elements of feature maps and weights that must be read and written (Eq. 2 to 5), for one feature
map. The PConv module accesses more: it concatenates, and so copies the other channels too. PConv in place does not.

{costs}

## Latency and speed of ten layers

{layers}

## At equal FLOPs

DWConv is widened until its multiply-adds, alone or with a PWConv behind it, are nearest to those of PConv + PWConv. The
T-shaped convolution is what PConv + PWConv decomposes (Eq. 6 and 7). Each ratio is relative to PConv + PWConv of the
same size and batch. An operator is left out where its input would take more than 256 MiB.

{equal}

## Rooflines

{roofline}

## Networks

The paper's GMAC/s are its FLOPs times its images per second: on its CPU one at a time, on its GPU 32.

{networks}"""


def _setup(records: Records) -> str:
    found = complete(records)
    threads, precision = (found[0]['settings'][key] for key in ('threads', 'precision'))
    on_gpu = records.machine.get('device', 'cpu') != 'cpu'
    how = (
        'in channels_last, as CUDA graphs that are replayed' if on_gpu else 'with an allocator that keeps freed memory'
    )
    return f""", {threads} thread{'s' * (threads > 1)}.

FLOPs are multiply-adds, and speeds are multiply-adds per second (GMAC/s; the paper calls them FLOPS), in {precision}
with random weights. Latencies are medians; those of one size and batch were measured in turns,
{how}. Two latencies are a tie if their medians are within 5 % or their quartiles
overlap.
{flagged(record['figures'] for record in found if 'flags' in record['figures'])}"""


def _body(records: Records) -> str:
    found = complete(records)
    networks = '\n\n'.join(_networks_table(found, batch) for batch in batches(found, 'network'))
    return _BODY.format(
        costs=_costs_table(found),
        layers='\n\n'.join(_layers_table(found, batch) for batch in batches(found)),
        equal=_equal_table(found),
        roofline=bullets(_roofline(found)),
        networks=networks or 'None was measured.',
    )


def truncated(value: int, printed: str) -> str:
    """Millions with as many decimals as are printed, truncated as in the paper's Table 1: '3.38' for 3,386,880."""
    decimals = len(printed.partition('.')[2])
    digits = str(value * 10**decimals // 10**6).zfill(decimals + 1)
    return f'{digits[:-decimals]}.{digits[-decimals:]}' if decimals else digits


def _size(record: dict) -> str:
    settings = record['settings']
    return f'{settings["channels"]} × {settings["height"]}²'


def _pairs(records: list[dict], batch: int, ours: str, other: str) -> list[tuple[dict, dict]]:
    """Records of two operators at all sizes that have both."""
    by_size = {_size(record): record for record in layers_of(records, batch, ours)}
    return [(by_size[_size(record)], record) for record in layers_of(records, batch, other)]


def _ratio(record: dict, other: dict, figure: str = 'median_ms') -> float:
    """A figure of a record over that of another."""
    return record['figures'][figure] / other['figures'][figure]


def _printed_layer(record: dict) -> dict[str, str]:
    """The row of Table 1 of the same operator and size, {} if it has none."""
    wanted = record['row'], str(record['settings']['channels']), str(record['settings']['height'])
    rows = published('table1_operators')
    return next((row for row in rows if (row['operator'], row['channels'], row['height']) == wanted), {})


def _is_slower(record: dict, other: dict) -> bool:
    return _ratio(record, other) > 1 and not is_tie(record['figures'], other['figures'])


def _relative(record: dict, other: dict) -> str:
    """A latency over another, with what is to be said of it."""
    tie = ' (*tie*)' * is_tie(record['figures'], other['figures'])
    return f'{_ratio(record, other):.2f}{tie}' + ' \\*' * any(one['figures']['flags'] for one in (record, other))


def _state(records: Records) -> Iterator[Statement]:
    found = complete(records)
    for batch in batches(found):
        for ours, others in _COMPARED.items():
            for other in others:
                if pairs := _pairs(found, batch, ours, other):
                    yield _of_operators(pairs, batch)
    for batch in batches(found, 'network'):
        measured = networks_of(found, batch)
        rivals = [record for record in measured if 'FasterNet' not in record['label']]
        yield from (_of_network(record, rivals, batch) for record in measured if rivals and record not in rivals)
    both = [(record['figures']['flops'], _printed_layer(record)) for record in layers_of(found, min(batches(found)))]
    same = [truncated(flops, printed['flops_m']) == printed['flops_m'] for flops, printed in both if printed]
    if same:
        yield Statement(
            f'{sum(same)} of the {len(same)} FLOPs that the paper prints in Table 1 are the computed ones, truncated '
            'to the printed digits.',
            against=not all(same),
        )


def _of_operators(pairs: list[tuple[dict, dict]], batch: int) -> Statement:
    """How an operator of the paper stands to another, here and in the paper."""
    slower = [pair for pair in pairs if _is_slower(*pair)]
    counts = dict(slower=len(slower), faster=sum(_is_slower(other, ours) for ours, other in pairs))
    counts['tied'] = len(pairs) - sum(counts.values())
    standing = ', '.join(f'{word} at {count}' for word, count in counts.items() if count)
    rates = span(gmacs(ours) / gmacs(other) for ours, other in pairs)
    speeds = span(_ratio(other, ours) for ours, other in pairs)
    text = (
        f'Batch {batch}: *{pairs[0][0]["label"]}*, compared with *{pairs[0][1]["label"]}*, is {standing} of '
        f'{len(pairs)} sizes: it reaches {rates} times the GMAC/s and processes {speeds} times as many feature maps '
        f'per second{_printed_ratios(pairs, batch)}.'
    )
    if slower:
        text += f' It has {span(_ratio(*pair) for pair in slower)} times the latency at '
        text += f'{", ".join(_size(ours) for ours, _ in slower)}.'
    return Statement(text, bool(slower))


def _printed_ratios(pairs: list[tuple[dict, dict]], batch: int) -> str:
    """The same two ratios of Table 1, where it has all sizes."""
    printed = [(_printed_layer(ours), _printed_layer(other)) for ours, other in pairs]
    if batch not in _PRINTED or not all(map(all, printed)):
        return ''
    device, rate, time = _PRINTED[batch]
    rates, times = ([float(ours[key]) / float(other[key]) for ours, other in printed] for key in (rate, time))
    speeds = times if time.endswith('fps') else [1 / value for value in times]
    return f' (the paper, on its {device}: {span(rates)} and {span(speeds)})'


def _of_network(record: dict, rivals: list[dict], batch: int) -> Statement:
    """A FasterNet's speed, and its latency beside those of networks with about its FLOPs, or more and no slower."""
    ahead = [other['label'] for other in rivals if gmacs(other) > gmacs(record)]
    reached = f'more than all {len(rivals)} other networks'
    if ahead:
        reached = f'fewer than {len(ahead)} of {len(rivals)} other networks ({", ".join(ahead)})'
    text = f'Batch {batch}: {record["label"]} reaches {gmacs(record):.1f} GMAC/s, {reached}.'
    large = [other for other in rivals if _ratio(other, record, 'flops') > 1 / _NEAR]
    equal = [other for other in large if not _is_slower(other, record)]
    near = [other for other in large if other in equal or _ratio(other, record, 'flops') < _NEAR]
    if near:
        texts = (
            f'{other["label"]} ({_ratio(other, record, "flops"):.2f} times its FLOPs) {_relative(other, record)}'
            for other in sorted(near, key=lambda other: _ratio(other, record))
        )
        text += ' The latency of networks with about its FLOPs, or with more and no slower, relative to its own: '
        text += f'{", ".join(texts)}.'
    return Statement(text, bool(ahead or equal))


def _costs_table(records: list[dict]) -> str:
    rows = []
    for record in layers_of(records, min(batches(records))):
        figures, batch = record['figures'], record['settings']['batch']
        rows.append(
            [
                record['label'],
                _size(record),
                f'{figures["width_channels"]:,}',
                f'{figures["flops"] / 1e6:,.2f}',
                _printed_layer(record).get('flops_m', ''),
                f'{figures["memory_accesses"] / batch / 1e6:,.2f}',
                f'{figures["flops"] * batch / figures["memory_accesses"]:,.1f}',
            ]
        )
    head = ['operator', 'channels × pixels', 'its width', 'M FLOPs', 'the paper', 'M memory accesses']
    return table([*head, 'FLOPs per access'], rows)


def _layers_table(records: list[dict], batch: int) -> str:
    """One batch, beside what of Table 1 was measured at that batch: the CPU's at 1, the GPU's at 32."""
    head, keys = ['operator', 'channels × pixels', 'ms', 'quartiles', 'GMAC/s'], ()
    if batch in _PRINTED:
        device, rate, time = _PRINTED[batch]
        head += [f'the paper, {"ms" if batch == 1 else "maps/s"} ({device})', f'the paper, GMAC/s ({device})']
        keys = time, rate
    rows = [
        [
            record['label'],
            _size(record),
            latency(record['figures']),
            '–'.join(map(milliseconds, record['figures']['quartiles_ms'])),
            f'{gmacs(record):.1f}',
            *(_printed_layer(record).get(key, '') for key in keys),
        ]
        for record in layers_of(records, batch)
    ]
    return f'Batch {batch}:\n\n{table(head, rows)}'


def _equal_table(records: list[dict]) -> str:
    rows = [
        [
            record['label'],
            _size(record),
            str(batch),
            f'{record["figures"]["width_channels"]:,}',
            f'{_ratio(record, pair, "flops"):.3f}',
            f'{_ratio(record, pair, "memory_accesses"):.2f}',
            _relative(record, pair),
        ]
        for batch in batches(records)
        for row in _EQUAL
        for pair, record in _pairs(records, batch, _PAIR, row)
    ]
    head = ['operator', 'channels × pixels', 'batch', 'its width', 'FLOPs', 'memory accesses', 'latency']
    return table(head, rows)


def _roofline(records: list[dict]) -> Iterator[str]:
    peaks, bandwidths = limits(records)
    peak, bandwidth = max(peaks), max(bandwidths)
    yield (
        f'The peak is {peak:.1f} GMAC/s, that of a product of large matrices: the highest of {len(peaks)} '
        f'measurements, {span(peaks, 1)}. The bandwidth is {bandwidth:.1f} GB/s ({span(bandwidths, 1)}), that of a '
        f'triad c = a + s·b over 128 MiB each, of which two reads and a write are counted. They meet at '
        f'{peak / bandwidth:.1f} multiply-adds per byte.'
    )
    for batch in batches(records):
        shares: dict[str, list[float]] = {}
        slope = flat = 0
        for record in layers_of(records, batch):
            roof = min(peak, bandwidth * intensity(record))
            shares.setdefault(record['label'], []).append(100 * gmacs(record) / roof)
            slope += roof != peak and gmacs(record) > roof
            flat += roof == peak and gmacs(record) > roof
        texts = ', '.join(f'{label} {span(values, 0)} %' for label, values in shares.items())
        yield (
            f'Batch {batch}, share of the roof: {texts}.'
            + f' {slope} lie above its slope: a cache, not memory, served them.' * bool(slope)
            + f' {flat} lie above its flat part: the product is not the fastest that this machine can do.' * bool(flat)
        )


def _networks_table(records: list[dict], batch: int) -> str:
    head = ['network', 'G FLOPs', 'the paper', 'ms', 'images/s', 'GMAC/s']
    if batch in _PRINTED:
        head += ['the paper, ms (CPU)' if batch == 1 else 'the paper, images/s (GPU)', 'its GMAC/s']
    rows, table_3 = [], {row['network']: row for row in published('table3_imagenet')}
    for record in networks_of(records, batch):
        printed = table_3[record['label']]
        row = [
            record['label'],
            f'{record["figures"]["flops"] / 1e9:.2f}',
            printed['flops_g'],
            latency(record['figures']),
            f'{record["figures"]["throughput"]:.3g}',
            f'{gmacs(record):.1f}',
        ]
        # The paper's latencies are of one image, its throughputs of 32.
        if batch == 1:
            speed = 1000 * float(printed['flops_g']) / float(printed['cpu_latency_ms'])
            row += [printed['cpu_latency_ms'], f'{speed:.1f}']
        elif batch == 32:
            throughput = printed['gpu_throughput_fps']
            row += [throughput, f'{float(printed["flops_g"]) * float(throughput):,.0f}']
        rows.append(row)
    return f'Batch {batch}:\n\n{table(head, rows)}'


REPORT = Report(
    name='operators',
    title='Operators',
    caption='Rooflines of the operators, and speed and latency of the networks',
    setup=_setup,
    state=_state,
    body=_body,
    draw=draw_operators,
    missing=lambda records: '' if complete(records) else 'no size is complete; run without --report-only',
)
