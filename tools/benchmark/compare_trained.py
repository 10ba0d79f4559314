"""The latency-vs-AP study: train Mask R-CNN with every backbone under one budget, test, measure latencies, and draw.

On generated pictures it takes two cores about an hour a seed; on COCO it trains the rows of the comparison by their
published schedules. Every finished part is saved at once. Stopped at any point, even killed, the same command goes on
from there.
"""

import argparse
import shlex

import rich
from mmengine.config import DictAction
from rich.table import Table

from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.benchmark.measure.scopes import SCOPES
from mmfasternet.benchmark.published.rows import ROWS, TRAINED_ROWS, find_row
from mmfasternet.benchmark.records.records import read_records
from mmfasternet.engine.launch import LAUNCHERS, Launcher
from mmfasternet.errors import UserError, one_sentence_errors, require_ops

# Of each study: the rows, where the records go, settings of every training, and how latencies are taken. Runs on small
# pictures are short, so there are more of them. The generated data is always named, so that MMDET_DATASETS of somebody
# who has COCO does not move it.
SHAPES = (
    TRAINED_ROWS,
    'work_dirs/compare_trained',
    {'data_root': 'data/shapes/'},
    dict(shape=(192, 256), rounds=5, warmup=3, runs=10),
)
QUICK = (
    (TRAINED_ROWS[0], TRAINED_ROWS[3]),
    'work_dirs/compare_trained_quick',
    {'data_root': 'data/compare_trained_quick/', 'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1},
    dict(shape=(192, 256), rounds=1, warmup=1, runs=2),
)
COCO = (ROWS, 'work_dirs/compare_trained_coco', {}, dict(shape=(800, 1280), rounds=5, warmup=2, runs=5))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', choices=['shapes', 'coco'], default='shapes', help='default: %(default)s')
    parser.add_argument('--data-root', help='folder of the data; default: what the configs say')
    parser.add_argument('--seeds', type=int, default=1, metavar='N', help='seeds 0 to N - 1; default: %(default)s')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='rows or config files to train; default: all rows')
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='what trains; default: one process')
    parser.add_argument('--gpus', type=int, default=1, help='processes of the launcher; default: %(default)s')
    parser.add_argument('--partition', help="slurm's partition")
    parser.add_argument('--device', help='where latencies are taken; default: cpu, for COCO cuda:0')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU; default: as many as torch takes')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='settings for every training'
    )
    parser.add_argument('--quick', action='store_true', help='two backbones, a few pictures: shows that all runs')
    parser.add_argument('--dry-run', action='store_true', help='print every step, and say what is missing for it')
    parser.add_argument('--report-only', action='store_true', help='train and measure nothing, draw what is there')
    parser.add_argument(
        '--out-dir',
        help='default: work_dirs/compare_trained, work_dirs/compare_trained_coco or work_dirs/compare_trained_quick',
    )
    args = parser.parse_args()
    if args.quick and args.data == 'coco':
        parser.error('--quick is for the generated data')
    return args


def main() -> None:
    args = parse_args()
    require_ops()
    # Imported here, since they need what require_ops and the extra for drawing explain.
    from mmfasternet.benchmark.comparison.trained import Study, run_study
    from mmfasternet.benchmark.comparison.trained_check import check_study
    from mmfasternet.benchmark.comparison.trained_report import write_study

    rows, out_dir, options, settings = COCO if args.data == 'coco' else QUICK if args.quick else SHAPES
    study = Study(
        rows=tuple(map(find_row, args.rows)) if args.rows else rows,
        seeds=tuple(range(args.seeds)),
        out_dir=args.out_dir or out_dir,
        options={**options, **({'data_root': args.data_root} if args.data_root else {}), **(args.cfg_options or {})},
        shapes=dict(num_train=8, num_val=4) if args.quick else {},
        launcher=Launcher(args.launcher, args.gpus, args.partition),
    )
    device = args.device or ('cuda:0' if args.data == 'coco' else 'cpu')
    protocol = dict(settings, device=device, threads=args.threads, scopes=SCOPES, path='deploy')
    if args.dry_run:
        table, problems = check_study(study)
        try:
            Protocol(**protocol)
        except UserError as error:
            problems.append(str(error))
        commands = [
            shlex.join(command) for run in study.runs() for command in (run.train_command(), run.test_command())
        ]
        print_steps(table, commands, problems, protocol)
        return
    try:
        document = read_records(study.records) if args.report_only else run_study(study, Protocol(**protocol))
    except KeyboardInterrupt:
        raise SystemExit(f'study: stopped; the same command goes on from here ({study.out_dir})') from None
    for name, path in write_study(document, study.out_dir).items():
        rich.print(f'{name}: {path}')


def print_steps(table: Table, commands: list[str], problems: list[str], protocol: dict) -> None:
    """Print every step of a study; end with what is missing."""
    rich.print(table)
    height, width = protocol['shape']
    print(f'latencies: {", ".join(SCOPES)} on {protocol["device"]}, pictures of {height} × {width} pixels')
    print(*commands, sep='\n')
    if problems:
        raise UserError('\n- '.join(['this is missing:', *problems]))
    print('nothing is missing')


if __name__ == '__main__':
    with one_sentence_errors():
        main()
