"""The study of operators as a page, from its records and the paper's tables."""

from collections.abc import Iterator
from math import log
from pathlib import Path

from mmfasternet.benchmark.paper.report import write_report
from mmfasternet.benchmark.report.markdown import bullets, flagged, latency, milliseconds, origin, span, table
from mmfasternet.errors import UserError

from .figures import (
    batches,
    complete,
    flags,
    gmacs,
    intensity,
    layers_of,
    limits,
    networks_of,
    partner,
    printed_layer,
    printed_network,
    ratio,
)
from .plot import draw_operators

__all__ = ['operators_page', 'truncated', 'write_operators']

PAIR = 'pconv_pwconv'
WIDENED = ('dwconv_pwconv_widened', 'dwconv_widened')
# Networks whose FLOPs are less than so many times those of the other have about the same.
NEAR = 1.2

PAGE = """# Operators

Drawn from `records.json` by `tools/paper/operators.py`; not edited by hand. What it is about is in
[the guide](../../../paper.md).

{origin}.

FLOPs are multiply-adds, and FLOPS multiply-adds per second, in float32 with random weights. Latencies are medians, and
those of one size and batch were taken in turns, with an allocator that keeps freed memory. {flags}

![Rooflines of the operators, and FLOPS and latency of the networks](operators.png)

## Costs of ten layers

{costs}

{costs_verdict}

## Latency and FLOPS of ten layers

{layers}

{layers_verdict}

## At equal FLOPs

DWConv is widened until its multiply-adds, alone or with a PWConv behind it, are nearest to those of PConv + PWConv. The
T-shaped convolution is what PConv + PWConv decomposes (Eq. 6 and 7). Each ratio is over PConv + PWConv of the same size
and batch. An operator is left out where a batch of its maps takes more than 256 MiB.

{equal}

{equal_verdict}

## Rooflines

{roofline}

## Networks

The paper's FLOPS are its FLOPs times its pictures per second: on its CPU one at a time, on its GPU 32.

{networks}

{networks_verdict}
"""


def operators_page(document: dict) -> str:
    """The study as Markdown.

    Args:
        document: From :func:`~mmfasternet.benchmark.paper.operators.measure.measure_operators`.

    Returns:
        The text.
    """
    records = complete(document)
    return PAGE.format(
        origin=origin(document),
        flags=flagged(record['figures'] for record in records if 'flags' in record['figures']),
        costs=costs_table(records),
        costs_verdict=costs_verdict(records),
        layers='\n\n'.join(layers_table(records, batch) for batch in batches(records)),
        layers_verdict=bullets(layers_verdict(records)),
        equal=equal_table(records),
        equal_verdict=bullets(equal_verdict(records)),
        roofline=bullets(roofline_verdict(records)),
        networks='\n\n'.join(networks_table(records, batch) for batch in batches(records, 'network'))
        or 'None was measured.',
        networks_verdict=bullets(networks_verdict(records)),
    )


def size_of(record: dict) -> str:
    settings = record['settings']
    return f'{settings["channels"]} × {settings["height"]}²'


def median_of(record: dict) -> str:
    return latency(record['figures'])


def truncated(value: int, printed: str) -> str:
    """Millions with as many decimals as are printed, the rest cut off, as the paper's Table 1 has them.

    Args:
        value: A whole number.
        printed: What is printed.

    Returns:
        The number in millions.

    Example:
        >>> truncated(162_570_240, '162'), truncated(3_386_880, '3.38')
        ('162', '3.38')
    """
    decimals = len(printed.partition('.')[2])
    digits = str(value * 10**decimals // 10**6).zfill(decimals + 1)
    return f'{digits[:-decimals]}.{digits[-decimals:]}' if decimals else digits


def costs_table(records: list[dict]) -> str:
    rows = []
    for record in layers_of(records, min(batches(records))):
        figures, printed = record['figures'], printed_layer(record)
        rows.append(
            [
                record['label'],
                size_of(record),
                f'{figures["width_channels"]:,}',
                f'{figures["flops"] / 1e6:,.2f}',
                printed['flops_m'] if printed else '',
                f'{figures["memory_accesses"] / record["settings"]["batch"] / 1e6:,.2f}',
                f'{figures["flops"] * record["settings"]["batch"] / figures["memory_accesses"]:,.1f}',
            ]
        )
    head = [
        'operator',
        'channels × pixels',
        'its width',
        'M FLOPs',
        'the paper',
        'M memory accesses',
        'FLOPs an access',
    ]
    return table(head, rows)


def costs_verdict(records: list[dict]) -> str:
    found = [(record, printed_layer(record)) for record in layers_of(records, min(batches(records)))]
    both = [(record['figures']['flops'], printed['flops_m']) for record, printed in found if printed]
    same = sum(truncated(flops, printed) == printed for flops, printed in both)
    if not both:
        return 'The paper has none of these sizes.'
    return (
        f'{same} of the {len(both)} FLOPs that the paper prints in Table 1 are the computed ones, cut off where it '
        'cuts them off. Memory accesses are the elements of maps and weights that must be read and written (Eq. 2 to '
        '5), for one map. PConv does more: it concatenates, and so copies the other channels too. PConv in place does '
        'not.'
    )


def layers_table(records: list[dict], batch: int) -> str:
    """One batch, beside what of Table 1 was taken at that batch: the CPU's at 1, the GPU's at 32."""
    beside = {1: ('cpu_latency_ms', 'cpu_gflops_per_s', 'CPU'), 32: ('gpu_throughput_fps', 'gpu_gflops_per_s', 'GPU')}
    first, second, device = beside.get(batch, (None, None, None))
    rows = []
    for record in layers_of(records, batch):
        low, high = record['figures']['quartiles_ms']
        row = [
            record['label'],
            size_of(record),
            median_of(record),
            f'{milliseconds(low)}–{milliseconds(high)}',
            f'{gmacs(record):.1f}',
        ]
        if device:
            printed = printed_layer(record) or {}
            row += [printed.get(first, ''), printed.get(second, '')]
        rows.append(row)
    head = ['operator', 'channels × pixels', 'ms', 'quartiles', 'G FLOPS']
    if device:
        head += [f'the paper, {"ms" if batch == 1 else "maps/s"} ({device})', f'G FLOPS ({device})']
    return f'Batch {batch}:\n\n{table(head, rows)}'


def layers_verdict(records: list[dict]) -> Iterator[str]:
    """How PConv's FLOPS and latency stand to those of the others, here and in the paper."""
    for batch in batches(records):
        for other in ('conv3x3', 'gconv3x3_16groups', 'dwconv3x3'):
            pairs = [
                (record, partner(records, record, other)) for record in layers_of(records, batch, 'pconv3x3_ratio1/4')
            ]
            rates = [gmacs(pconv) / gmacs(record) for pconv, record in pairs]
            times = [record['figures']['median_ms'] / pconv['figures']['median_ms'] for pconv, record in pairs]
            text = (
                f'Batch {batch}: PConv has {span(rates)} times the FLOPS of {pairs[0][1]["label"]}, and '
                f'{span(times)} times its speed'
            )
            yield text + printed_ratios(pairs, batch) + '.'
        pairs = [
            (record, partner(records, record, 'pconv3x3_in_place'))
            for record in layers_of(records, batch, 'pconv3x3_ratio1/4')
        ]
        gains = [pconv['figures']['median_ms'] / in_place['figures']['median_ms'] for pconv, in_place in pairs]
        yield f'Batch {batch}: in place, PConv runs at {span(gains)} times the speed of the one that concatenates.'


def printed_ratios(pairs: list[tuple[dict, dict]], batch: int) -> str:
    """The same two ratios of Table 1, for the sizes that it has."""
    if batch not in (1, 32):
        return ''
    printed = [(printed_layer(pconv), printed_layer(other)) for pconv, other in pairs]
    if not all(pconv and other for pconv, other in printed):
        return ''
    rate, device = ('cpu_gflops_per_s', 'CPU') if batch == 1 else ('gpu_gflops_per_s', 'GPU')
    rates = [float(pconv[rate]) / float(other[rate]) for pconv, other in printed]
    if batch == 1:
        times = [float(other['cpu_latency_ms']) / float(pconv['cpu_latency_ms']) for pconv, other in printed]
    else:
        times = [float(pconv['gpu_throughput_fps']) / float(other['gpu_throughput_fps']) for pconv, other in printed]
    return f' (the paper, on its {device}: {span(rates)} and {span(times)})'


def equal_table(records: list[dict]) -> str:
    rows = []
    for batch in batches(records):
        for row in (*WIDENED, 'tconv'):
            for record in layers_of(records, batch, row):
                pair = partner(records, record, PAIR)
                rows.append(
                    [
                        record['label'],
                        size_of(record),
                        str(batch),
                        f'{record["figures"]["width_channels"]:,}',
                        f'{ratio(record, pair, "flops"):.3f}',
                        f'{ratio(record, pair, "memory_accesses"):.2f}',
                        f'{ratio(record, pair, "median_ms"):.2f}' + ' \\*' * bool(flags(record) or flags(pair)),
                    ]
                )
    head = ['operator', 'channels × pixels', 'batch', 'its width', 'FLOPs', 'memory accesses', 'latency']
    return table(head, rows)


def equal_verdict(records: list[dict]) -> Iterator[str]:
    for batch in batches(records):
        for row in (*WIDENED, 'tconv'):
            pairs = [(record, partner(records, record, PAIR)) for record in layers_of(records, batch, row)]
            if not pairs:
                continue
            flops, accesses, latencies = (
                [ratio(record, pair, figure) for record, pair in pairs]
                for figure in ('flops', 'memory_accesses', 'median_ms')
            )
            yield (
                f'Batch {batch}: {pairs[0][0]["label"]}, with {span(flops, 3)} times the FLOPs of PConv + PWConv and '
                f'{span(accesses)} times its memory accesses, takes {span(latencies)} times as long; it is slower at '
                f'{sum(value > 1 for value in latencies)} of {len(pairs)} sizes.'
            )


def roofline_verdict(records: list[dict]) -> Iterator[str]:
    peak, bandwidth = limits(records)
    found = [record['figures'] for record in records if record['row'] == 'machine']
    peaks, bandwidths = ([one[name] for one in found] for name in ('peak_gmacs', 'bandwidth_gb_s'))
    yield (
        f'The peak is {peak:.1f} G multiply-adds per second, that of a product of large matrices: the most of '
        f'{len(found)} measurements, {span(peaks, 1)}. The bandwidth is {bandwidth:.1f} GB/s ({span(bandwidths, 1)}), '
        f'that of a triad c = a + s·b over 128 MiB each, of which two reads and a write are counted. They meet at '
        f'{peak / bandwidth:.1f} multiply-adds a byte.'
    )
    for batch in batches(records):
        shares: dict[str, list[float]] = {}
        above = dict(slope=0, flat=0)
        for record in layers_of(records, batch):
            roof = min(peak, bandwidth * intensity(record))
            shares.setdefault(record['label'], []).append(gmacs(record) / roof)
            above['flat' if roof == peak else 'slope'] += gmacs(record) > roof
        texts = ', '.join(f'{label} {span((100 * value for value in values), 0)} %' for label, values in shares.items())
        yield (
            f'Batch {batch}, share of the roof: {texts}.'
            + f' Above its slope lie {above["slope"]}: a cache, not memory, served them.' * bool(above['slope'])
            + f' Above its flat part lie {above["flat"]}: the product is not what this machine does fastest.'
            * bool(above['flat'])
        )


def networks_table(records: list[dict], batch: int) -> str:
    rows = []
    for record in sorted(networks_of(records, batch), key=lambda record: record['figures']['flops']):
        printed = printed_network(record)
        row = [
            record['label'],
            f'{record["figures"]["flops"] / 1e9:.2f}',
            printed['flops_g'],
            median_of(record),
            f'{record["figures"]["throughput"]:.3g}',
            f'{gmacs(record):.1f}',
        ]
        # The paper's latencies are of one picture, its throughputs of 32.
        if batch == 1:
            row += [
                printed['cpu_latency_ms'],
                f'{1000 * float(printed["flops_g"]) / float(printed["cpu_latency_ms"]):.1f}',
            ]
        elif batch == 32:
            throughput = float(printed['gpu_throughput_fps'])
            row += [printed['gpu_throughput_fps'], f'{float(printed["flops_g"]) * throughput:,.0f}']
        rows.append(row)
    head = ['network', 'G FLOPs', 'the paper', 'ms', 'pictures/s', 'G FLOPS']
    if batch in (1, 32):
        head += ['the paper, ms (CPU)' if batch == 1 else 'the paper, pictures/s (GPU)', 'its G FLOPS']
    return f'Batch {batch}:\n\n{table(head, rows)}'


def networks_verdict(records: list[dict]) -> Iterator[str]:
    for batch in batches(records, 'network'):
        ordered = sorted(networks_of(records, batch), key=gmacs, reverse=True)
        if len(ordered) == 1:
            continue
        places = ', '.join(
            f'{record["label"]} {number}' for number, record in enumerate(ordered, 1) if 'FasterNet' in record['label']
        )
        yield (
            f'Batch {batch}: {ordered[0]["label"]} has the most FLOPS ({gmacs(ordered[0]):.1f} G) and '
            f'{ordered[-1]["label"]} the fewest ({gmacs(ordered[-1]):.1f} G).'
            + (f' Places of {len(ordered)}: {places}.' if places else '')
        )
        for record in ordered:
            rivals = [other for other in ordered if 'FasterNet' not in other['label']]
            near = [other for other in rivals if abs(log(ratio(other, record, 'flops'))) < log(NEAR)]
            if 'FasterNet' not in record['label'] or not near:
                continue
            texts = (
                f'{other["label"]} ({ratio(other, record, "flops"):.2f} times its FLOPs) '
                f'{ratio(other, record, "median_ms"):.2f}' + ' \\*' * bool(flags(other) or flags(record))
                for other in sorted(near, key=lambda other: ratio(other, record, 'median_ms'))
            )
            yield (
                f'Batch {batch}, networks with about the FLOPs of {record["label"]}, and how many times as long they '
                f'take: {", ".join(texts)}.'
            )


def write_operators(document: dict, out_dir: str | Path) -> dict[str, Path]:
    """Write the page and the picture, each file whole.

    Args:
        document: As for :func:`operators_page`.
        out_dir: Folder, made if it is missing.

    Returns:
        Name → path of operators.md, operators.png and operators.svg.

    Raises:
        UserError: If nothing is measured yet, or a file can't be written.
    """
    if not complete(document):
        raise UserError(f'nothing to draw in {out_dir} yet: nothing is measured; run the study without --report-only')
    return write_report('operators', operators_page(document), draw_operators(document), out_dir)
