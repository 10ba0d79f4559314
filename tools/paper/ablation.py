"""FasterNet's choices (the paper's Table 5): partial ratio, norm and activation, in cost, latency and AP.

Variants are counted, timed in eager and deployed form, and trained as backbones of one detector under one budget, from
random weights. Every finished part is saved at once. Stopped at any point, the same command goes on from there.
"""

import argparse

from mmfasternet.benchmark.paper.command import new_parser, run_study
from mmfasternet.benchmark.published.rows import find_row
from mmfasternet.errors import UserError, one_sentence_errors, require_ops

# The generated data is always named, so that MMDET_DATASETS of somebody who has COCO does not move it. Two epochs
# instead of the config's three, with the learning rate down at their end.
SHAPES = {
    'data_root': 'data/shapes/',
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 2,
    'param_scheduler.1.T_max': 2,
}
QUICK = {
    'data_root': 'data/compare_trained_quick/',
    'train_cfg.max_epochs': 1,
    'param_scheduler.1.T_max': 1,
    'default_hooks.logger.interval': 1,
}


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, 'ablation', 'two variants, small pictures, a few iterations')
    parser.add_argument(
        '--config', help='detector with a FasterNet, trained as it says; default: on generated pictures'
    )
    parser.add_argument('--data-root', help="folder of the config's data; default: what it says")
    parser.add_argument('--seeds', type=int, default=1, metavar='N', help='seeds 0 to N - 1; default: %(default)s')
    parser.add_argument('--device', default='cpu', help='where latencies are taken; default: %(default)s')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU; default: as many as torch takes')
    args = parser.parse_args()
    if args.quick and args.config:
        parser.error('--quick is for the generated pictures')
    return args


def main() -> None:
    args = parse_args()
    require_ops()
    # Imported here, since they need what require_ops and the extra for drawing explain.
    from mmfasternet.benchmark.paper.ablation.measure import VARIANTS, Plan, measure_ablation
    from mmfasternet.benchmark.paper.ablation.report import write_ablation

    if args.seeds < 0:
        raise UserError(f'--seeds must be 0 (train nothing) or more, but got {args.seeds}')
    chosen = dict(device=args.device, threads=args.threads, seeds=tuple(range(args.seeds)))
    options = QUICK if args.quick else {} if args.config else SHAPES
    chosen['options'] = options | ({'data_root': args.data_root} if args.data_root else {})
    if args.config:
        chosen['config'] = find_row(args.config).config
    if args.quick:
        chosen |= dict(variants=VARIANTS[:2], pixels=64, rounds=1, shapes=dict(num_train=8, num_val=4))
    plan = Plan(**chosen)
    run_study('ablation', args, lambda records: measure_ablation(plan, records), write_ablation)


if __name__ == '__main__':
    with one_sentence_errors():
        main()
