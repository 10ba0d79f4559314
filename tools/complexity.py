"""Count parameters, multiply-adds and activations of detectors, part by part, without weights, data or a GPU."""

import argparse

import rich
import torch
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from mmfasternet.benchmark.complexity import count_complexity
from mmfasternet.benchmark.records import describe_machine, new_document, provenance
from mmfasternet.benchmark.rows import Row, find_row
from mmfasternet.errors import one_sentence_errors, require_ops
from mmfasternet.files import write_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config file, or name of a row: fasternet_s')
    parser.add_argument(
        '--shape', nargs=2, type=int, default=(800, 1280), metavar=('H', 'W'), help='picture in pixels: 800 1280'
    )
    parser.add_argument('--out', help='JSON file to write the counts to, as records')
    args = parser.parse_args()
    if min(args.shape) < 32:
        parser.error(f'--shape must be at least 32 32, but got {args.shape[0]} {args.shape[1]}')
    return args


def main() -> None:
    args = parse_args()
    require_ops()
    rows = [find_row(config) for config in args.configs]
    document = new_document(describe_machine('cpu', torch.get_num_threads()))
    for row in track(rows, 'counting', transient=True):
        count = count_complexity(row.config_path, *args.shape)
        document['records'].append({'kind': 'complexity', **count, **row.identity, **provenance()})
    if args.out:
        write_json(args.out, document)
    counts = document['records']
    rich.print(by_part(rows, counts), totals(rows, counts), sep='\n')


def by_part(rows: list[Row], counts: list[dict]) -> Table:
    """Multiply-adds of each part, full count."""
    parts = list(dict.fromkeys(part for count in counts for part in count['parts']))
    table = Table('', *parts, 'all', title='multiply-adds in G, every operator')
    for row, count in zip(rows, counts, strict=True):
        flops = [count['parts'].get(part, {}).get('flops_full') for part in parts] + [count['flops_full']]
        table.add_row(escape(row.label), *('' if value is None else f'{value / 1e9:.1f}' for value in flops))
    return table


def totals(rows: list[Row], counts: list[dict]) -> Table:
    """The whole detector, beside what the paper's Table 4 printed."""
    table = Table(title='M parameters, G multiply-adds as the paper counts, its Table 4, M activations')
    for name in ('', 'all', 'trained', 'printed', 'FLOPs', 'printed', 'activations'):
        table.add_column(name, justify='right' if name else 'left', no_wrap=True)
    for row, count in zip(rows, counts, strict=True):
        printed = row.published
        table.add_row(
            escape(row.label),
            f'{count["params"] / 1e6:.1f}',
            f'{count["trainable"] / 1e6:.1f}',
            f'{printed.params_m}' if printed and printed.params_m else '',
            f'{count["flops_paper"] / 1e9:.1f}',
            f'{printed.flops_g}' if printed and printed.flops_g else '',
            f'{count["activations"] / 1e6:.0f}',
        )
    return table


if __name__ == '__main__':
    with one_sentence_errors():
        main()
