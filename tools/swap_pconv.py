"""Swap the k×k convolutions of a network for PConv; compare it before and after.

Each becomes a PConv and a 1×1 convolution: parameters, FLOPs, latency in turns, and the largest difference of outputs.

The new network is another function until it is trained: FLOPs and latency say what it costs, and nothing says how
accurate it will be. docs/swap_pconv.md says when it helps.
"""

import argparse
import os

import rich
from rich.markup import escape
from rich.table import Table

from mmfasternet.benchmark.measure.swap import build_network, measure_swap
from mmfasternet.benchmark.measure.turns import is_tie
from mmfasternet.benchmark.records import Records, describe_machine
from mmfasternet.benchmark.report.markdown import milliseconds
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import exit_on_user_error


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'networks', nargs='+', metavar='NETWORK', help='name in timm or torchvision, or a config, of which the backbone'
    )
    parser.add_argument(
        '--shape', nargs=2, type=int, metavar=('H', 'W'), default=(224, 224), help='image in pixels; default: 224 224'
    )
    parser.add_argument('--ratio', type=float, default=1 / 4, help='share of convolved channels; default: 0.25')
    parser.add_argument('--threads', type=int, default=os.cpu_count(), help='of torch; default: all cores')
    parser.add_argument('--rounds', type=int, default=10, help='turns of each network; default: 10')
    parser.add_argument('--no-latency', action='store_true', help='count alone')
    parser.add_argument('--out', help='JSON file to add the figures to, as records')
    args = parser.parse_args()
    if min(*args.shape, args.threads, args.rounds) < 1:
        parser.error('--shape, --threads and --rounds must be at least 1')
    if not 0 < args.ratio <= 1:
        parser.error(f'--ratio must be in (0, 1], but got {args.ratio}')
    return args


def main() -> None:
    args = parse_args()
    provide_ops()
    # Before the first turn, so that a wrong name costs no time.
    models = {name: build_network(name) for name in args.networks}
    # Counts are the same on every machine.
    records = Records.open(args.out, any_machine=args.no_latency) if args.out else Records(describe_machine())
    threads = None if args.no_latency else args.threads
    for name, model in models.items():
        figures = measure_swap(model, tuple(args.shape), args.ratio, threads, args.rounds)
        record = records.add(dict(kind='swap', row=name, label=name, **figures))
        rich.print(table(record), *explain(record), sep='\n')


def table(record: dict) -> Table:
    """What the network costs before and after."""
    found = Table('', 'before', 'after', 'ratio', title=escape(record['label']))
    for title, key, unit in (('M parameters', 'params', 1e6), ('G FLOPs (multiply-adds)', 'flops', 1e9)):
        before, after = (record[f'{key}_{when}'] / unit for when in ('before', 'after'))
        found.add_row(title, f'{before:.2f}', f'{after:.2f}', f'{after / before:.2f}')
    if 'before' in record:
        before, after = record['before'], record['after']
        ratio = f'{after["median_ms"] / before["median_ms"]:.2f}' + ' (tie)' * is_tie(before, after)
        times = [milliseconds(one['median_ms']) + ' *' * bool(one['flags']) for one in (before, after)]
        found.add_row(f'ms, threads: {record["threads"]}', *times, ratio)
    return found


def explain(record: dict) -> list[str]:
    """What was swapped, what was left, and what that means."""
    lines = [f'{record["swapped"]} convolutions swapped']
    lines += [f'{count} left: {escape(reason)}' for reason, count in record['left'].items()]
    if record['swapped'] == 0:
        return [*lines, 'nothing to swap: the network stays as it is']
    lines.append(
        f'largest difference of the outputs: {record["max_difference"]:.2g} of the largest value. It is another '
        'function until it is trained'
    )
    lines += [f'* {when}: {flag}' for when in ('before', 'after') for flag in record.get(when, {}).get('flags', [])]
    return lines


if __name__ == '__main__':
    with exit_on_user_error():
        main()
