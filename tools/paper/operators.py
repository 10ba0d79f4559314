"""Operators and networks (the paper's Table 1 and Fig. 2): multiply-adds, memory accesses, latency, and their ratio.

Conv, GConv, DWConv and PConv ten layers deep, DWConv also widened to the multiply-adds of PConv and PWConv, the
T-shaped convolution beside its decomposition, and whole networks. Every finished part is saved at once. Stopped at any
point, the same command goes on from there.
"""

import argparse

from mmfasternet.benchmark.paper.command import new_parser, run_study
from mmfasternet.errors import one_sentence_errors, require_ops


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, 'operators', 'small maps, one network, one round')
    parser.add_argument('--device', default='cpu', help='cpu, or a GPU such as cuda:0; default: %(default)s')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU; default: as many as torch takes')
    parser.add_argument('--batches', type=int, nargs='+', metavar='N', help='maps at once; default: 1 32')
    parser.add_argument('--networks', nargs='*', metavar='NAME', help='networks, none to leave them out; default: all')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_ops()
    # Imported here, since they need what require_ops and the extra for drawing explain.
    from mmfasternet.benchmark.paper.operators.layers import Size
    from mmfasternet.benchmark.paper.operators.measure import Plan, measure_operators
    from mmfasternet.benchmark.paper.operators.report import write_operators

    quick = dict(sizes=(Size(32, 14), Size(64, 7)), batches=(1, 2), networks=('fasternet_t0',), rounds=1)
    chosen = dict(device=args.device, threads=args.threads)
    if args.batches is not None:
        chosen['batches'] = tuple(args.batches)
    if args.networks is not None:
        chosen['networks'] = tuple(args.networks)
    plan = Plan(**{**(quick if args.quick else {}), **chosen})
    run_study('operators', args, lambda records: measure_operators(plan, records), write_operators)


if __name__ == '__main__':
    with one_sentence_errors():
        main()
