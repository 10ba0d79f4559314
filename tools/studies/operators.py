"""Operators and networks (the paper's Table 1 and Fig. 2): multiply-adds, memory accesses, latency, and their ratio.

Conv, GConv, DWConv and PConv ten layers deep, DWConv also widened to the multiply-adds of PConv and PWConv, the
T-shaped convolution beside its decomposition, and whole networks. Every finished part is saved at once. Stopped at any
point, the same command goes on from there.
"""

import argparse
from pathlib import Path

import rich

from mmfasternet.benchmark.records import read_records
from mmfasternet.errors import one_sentence_errors, require_ops

OUT_DIR = 'work_dirs/studies/operators'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cpu', help='cpu, or a GPU such as cuda:0; default: %(default)s')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU; default: as many as torch takes')
    parser.add_argument('--batches', type=int, nargs='+', metavar='N', help='maps at once; default: 1 32')
    parser.add_argument('--networks', nargs='*', metavar='NAME', help='networks, none to leave them out; default: all')
    parser.add_argument('--quick', action='store_true', help='small maps, one network, one round')
    parser.add_argument('--report-only', action='store_true', help='measure nothing, draw what is there')
    parser.add_argument('--out-dir', help=f'default: {OUT_DIR}, or {OUT_DIR}_quick')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_ops()
    # Imported here, since they need what require_ops and the extra for drawing explain.
    from mmfasternet.studies.layers import Size
    from mmfasternet.studies.operators import Plan, measure_operators
    from mmfasternet.studies.operators_report import write_operators

    quick = dict(sizes=(Size(32, 14), Size(64, 7)), batches=(1, 2), networks=('fasternet_t0',), rounds=1)
    chosen = dict(device=args.device, threads=args.threads)
    if args.batches is not None:
        chosen['batches'] = tuple(args.batches)
    if args.networks is not None:
        chosen['networks'] = tuple(args.networks)
    out_dir = Path(args.out_dir or OUT_DIR + '_quick' * args.quick)
    records = out_dir / 'records.json'
    try:
        if args.report_only:
            document = read_records(records)
        else:
            document = measure_operators(Plan(**{**(quick if args.quick else {}), **chosen}), records)
    except KeyboardInterrupt:
        raise SystemExit(f'operators: stopped; the same command goes on from here ({out_dir})') from None
    for name, path in write_operators(document, out_dir).items():
        rich.print(f'{name}: {path}')


if __name__ == '__main__':
    with one_sentence_errors():
        main()
