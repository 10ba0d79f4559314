"""Compare latency against AP trained here: train Mask R-CNN with every backbone under one budget, test, and draw.

On generated images, two cores take about an hour a seed. On COCO it trains the rows of compare by their published
schedules. Every finished part is saved at once.
"""

import argparse

from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.benchmark.published.rows import BUILT_ROWS, TRAINED_ROWS, find_row
from mmfasternet.benchmark.records import SCOPES, Records
from mmfasternet.benchmark.report.command import new_parser, run_command
from mmfasternet.engine.launch import LAUNCHERS, Launcher
from mmfasternet.engine.ops import provide_ops
from mmfasternet.engine.options import add_cfg_options
from mmfasternet.errors import exit_on_user_error
from mmfasternet.weights.reader import add_trust_checkpoint

OUT_DIR = 'work_dirs/compare_trained'
# Each has the rows, where the records go, settings of every training, and how latencies are taken. The generated data
# is always named, so that MMDET_DATASETS of somebody who has COCO does not move it.
SHAPES = (TRAINED_ROWS, OUT_DIR, {'data_root': 'data/shapes/'}, dict(shape=(192, 256), rounds=5))
QUICK = (
    (TRAINED_ROWS[0], TRAINED_ROWS[3]),
    f'{OUT_DIR}_quick',
    {'data_root': 'data/compare_trained_quick/', 'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1},
    dict(shape=(192, 256), rounds=1),
)
COCO = (BUILT_ROWS, f'{OUT_DIR}_coco', {}, dict(shape=(800, 1280), rounds=5))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, OUT_DIR, 'two backbones, a few images')
    parser.add_argument('--data', choices=['shapes', 'coco'], default='shapes', help='default: %(default)s')
    parser.add_argument('--data-root', help='folder of the data; default: what the configs say')
    parser.add_argument('--seeds', type=int, default=1, metavar='N', help='seeds 0 to N - 1; default: %(default)s')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='rows or config files to train; default: all rows')
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='what trains; default: one process')
    parser.add_argument('--gpus', type=int, default=1, help='processes of the launcher; default: %(default)s')
    parser.add_argument('--partition', help="slurm's partition")
    parser.add_argument('--device', help='where latencies are taken; default: cpu, or cuda:0 for COCO')
    parser.add_argument('--threads', type=int, help="torch's threads on the CPU; default: torch's own choice")
    add_cfg_options(parser)
    parser.add_argument(
        '--records', nargs='+', default=[], metavar='FILE', help='records of other machines or runs to draw beside'
    )
    parser.add_argument('--dry-run', action='store_true', help='print every step, and what is missing for it')
    add_trust_checkpoint(parser)
    args = parser.parse_args()
    if args.quick and args.data == 'coco':
        parser.error('--quick is for the generated data')
    return args


def main() -> None:
    args = parse_args()
    provide_ops()
    # Imported here, since they need the extra for drawing, whose absence is explained.
    from mmfasternet.benchmark.comparison.runs import TrainingPlan
    from mmfasternet.benchmark.comparison.trained import measure_trained
    from mmfasternet.benchmark.comparison.trained_check import dry_run
    from mmfasternet.benchmark.comparison.trained_report import write_trained

    rows, out_dir, options, settings = COCO if args.data == 'coco' else QUICK if args.quick else SHAPES
    args.out_dir = args.out_dir or out_dir
    plan = TrainingPlan(
        rows=tuple(map(find_row, args.rows)) if args.rows else rows,
        seeds=tuple(range(args.seeds)),
        out_dir=args.out_dir,
        options={**options, **({'data_root': args.data_root} if args.data_root else {}), **(args.cfg_options or {})},
        shapes=dict(num_train=8, num_val=4) if args.quick else {},
        launcher=Launcher(args.launcher, args.gpus, args.partition),
        trust_checkpoint=args.trust_checkpoint,
    )
    device = args.device or ('cuda:0' if args.data == 'coco' else 'cpu')
    protocol = dict(settings, device=device, threads=args.threads, scopes=SCOPES, path='folded')
    if args.dry_run:
        dry_run(plan, protocol)
        return
    others = [Records.read(path) for path in args.records]
    run_command(
        args,
        lambda path: measure_trained(plan, Protocol(**protocol)),
        lambda records, out_dir: write_trained(records, others, out_dir),
    )


if __name__ == '__main__':
    with exit_on_user_error():
        main()
