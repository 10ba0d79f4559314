"""From nothing to a trained and tested model: generate images, train on them, test through MIM, draw.

Mask R-CNN by default, or with `segmentation` Semantic FPN, each with FasterNet-T0. Interrupt it at any time; the next
run resumes where it stopped.
"""

import argparse
import sys

import rich

from mmfasternet.benchmark.records import save_outcome
from mmfasternet.datasets import statistics_table
from mmfasternet.engine.demo import TASKS, run_demo
from mmfasternet.errors import UserError, exit_on_user_error


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('task', nargs='?', choices=TASKS, default='detection', help='default: detection')
    parser.add_argument('--quick', action='store_true', help='a few images, hardly trained on: shows that it all runs')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    outcome = run_demo(args.task, args.quick)
    save_outcome(outcome.work_dir / 'records.json', outcome.config, args.task, outcome.metrics, outcome.seconds)
    rich.print(statistics_table(outcome.files['data']), outcome.table)
    if not args.quick and min(outcome.metrics.values()) < outcome.floor:
        raise UserError(f'{" and ".join(outcome.metrics)} should reach {outcome.floor:.2f}')


if __name__ == '__main__':
    try:
        with exit_on_user_error():
            main()
    except KeyboardInterrupt:
        sys.exit('Interrupted; run the same command to resume')
