"""Operators and networks (the paper's Table 1 and Fig. 2): multiply-adds, memory accesses and latency.

Conv, GConv, DWConv and PConv ten layers deep, DWConv also widened to the multiply-adds of PConv and PWConv, the
T-shaped convolution beside its decomposition, and complete networks.
"""

import argparse

from mmfasternet.benchmark.measure.precision import PRECISIONS
from mmfasternet.benchmark.report.command import new_parser, run_command
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import exit_on_user_error


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, 'work_dirs/paper/operators', 'small feature maps, one network, one round')
    parser.add_argument('--device', default='cpu', help='cpu, or a GPU such as cuda:0; default: %(default)s')
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32', help='on a GPU; default: %(default)s')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU; default: as many as torch uses')
    parser.add_argument('--batches', type=int, nargs='+', metavar='N', help='batch sizes; default: 1 32')
    parser.add_argument('--networks', nargs='*', metavar='NAME', help='networks, or none; default: all')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    provide_ops()
    # Imported here, since they need the extra for drawing, whose absence is explained.
    from mmfasternet.benchmark.paper.operators.measure import QUICK, Plan, measure_operators
    from mmfasternet.benchmark.paper.operators.report import REPORT

    chosen = dict(device=args.device, precision=args.precision, threads=args.threads)
    if args.batches is not None:
        chosen['batches'] = tuple(args.batches)
    if args.networks is not None:
        chosen['networks'] = tuple(args.networks)
    plan = Plan(**{**(QUICK if args.quick else {}), **chosen})
    run_command(args, lambda path: measure_operators(plan, path), REPORT.write)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
