"""FasterNet's choices (the paper's Table 5): partial ratio, norm and activation, in cost, latency and AP.

Variants are counted, timed on the reference path and the optimized path, and trained as backbones of one detector under
one budget, from random weights.
"""

import argparse

from mmfasternet.benchmark.published.rows import find_row
from mmfasternet.benchmark.report.command import new_parser, run_command
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import UserError, exit_on_user_error

# The data is named, so that an MMDET_DATASETS for COCO does not move it. Two epochs instead of the config's three,
# with the learning rate at its end.
SHORT = {
    'data_root': 'data/shapes/',
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 2,
    'param_scheduler.1.T_max': 2,
}


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, 'work_dirs/paper/ablation', 'two variants, small images, a few iterations')
    parser.add_argument('--config', help='detector with a FasterNet, trained as it says; default: on generated images')
    parser.add_argument('--data-root', help="folder of the config's data; default: what it says")
    parser.add_argument('--seeds', type=int, default=1, metavar='N', help='seeds 0 to N - 1; default: %(default)s')
    parser.add_argument('--device', default='cpu', help='where latencies are measured; default: %(default)s')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU; default: as many as torch uses')
    args = parser.parse_args()
    if args.quick and args.config:
        parser.error('--quick is for the generated images')
    return args


def main() -> None:
    args = parse_args()
    provide_ops()
    # Imported here, since they need the extra for drawing, whose absence is explained.
    from mmfasternet.benchmark.paper.ablation.measure import VARIANTS, Plan, measure_ablation
    from mmfasternet.benchmark.paper.ablation.report import REPORT
    from mmfasternet.benchmark.paper.subject import QUICK_OPTIONS, QUICK_SHAPES

    if args.seeds < 0:
        raise UserError(f'--seeds must be 0 (train nothing) or more, but got {args.seeds}')
    chosen = dict(device=args.device, threads=args.threads, seeds=tuple(range(args.seeds)))
    options = QUICK_OPTIONS | {'param_scheduler.1.T_max': 1} if args.quick else {} if args.config else SHORT
    chosen['options'] = options | ({'data_root': args.data_root} if args.data_root else {})
    if args.config:
        chosen['config'] = find_row(args.config).config
    if args.quick:
        chosen |= dict(variants=VARIANTS[:2], pixels=64, rounds=1, shapes=QUICK_SHAPES)
    plan = Plan(**chosen)
    run_command(args, lambda path: measure_ablation(plan, path), REPORT.write)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
