"""Choose a backbone: the best published AP within a latency budget, on this machine.

It measures what is missing, only backbones that can still win, those with the fewest FLOPs first, and prints the
answer as soon as there is one. Interrupt it at any time; the same command resumes where it stopped.
"""

import argparse
import sys
from pathlib import Path

import rich

from mmfasternet.benchmark.comparison.answer import answer_lines, front_table
from mmfasternet.benchmark.comparison.candidates import TASKS, Wish
from mmfasternet.benchmark.comparison.choose import Choice, choose_here, choose_published, config_to_train
from mmfasternet.benchmark.measure.enough import Enough
from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import exit_on_user_error, printable

ENGINES = ('eager', 'openvino')
SCOPES = ('backbone', 'detector')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--budget-ms', type=float, required=True, metavar='MS', help='latency that must be met')
    parser.add_argument('--device', default=Protocol.device, help='cpu, cuda:0, …; default: %(default)s')
    parser.add_argument('--threads', type=int, help="threads on the CPU; default: torch's own choice")
    parser.add_argument(
        '--shape', nargs=2, type=int, default=(800, 1280), metavar=('H', 'W'), help='image in pixels; default: 800 1280'
    )
    parser.add_argument('--engine', choices=ENGINES, default=ENGINES[0], help='default: %(default)s')
    parser.add_argument(
        '--scope',
        choices=SCOPES,
        default=SCOPES[0],
        help='what must meet the budget: the backbone alone, or a Mask R-CNN without NMS; default: %(default)s',
    )
    parser.add_argument('--task', choices=TASKS, default='boxes', help='default: %(default)s')
    parser.add_argument('--max-params', type=float, metavar='M', help='parameters of the backbone at most, in millions')
    parser.add_argument('--no-distilled', action='store_true', help='without distilled ImageNet weights')
    parser.add_argument(
        '--published', action='store_true', help='measure nothing: the budget is for the published latencies'
    )
    parser.add_argument('--out-dir', default='work_dirs/choose', metavar='DIR', help='default: %(default)s')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    wish = Wish(args.budget_ms, args.task, args.max_params, distilled=not args.no_distilled)
    shape = tuple(args.shape)
    if args.published:
        choice = choose_published(wish, shape)
    else:
        provide_ops()
        protocol = Protocol(
            device=args.device,
            threads=args.threads,
            shape=shape,
            scopes=(args.scope,),
            path='folded',
            backend=args.engine,
            rounds=3,
            enough=Enough(budget_s=60),
        )
        try:
            choice = choose_here(wish, protocol, Path(args.out_dir, 'records.json'))
        except KeyboardInterrupt:
            sys.exit(f'interrupted; the same command resumes where it stopped ({args.out_dir})')
    show(choice)
    print(printable(f'Train: {config_to_train(choice.answer.choice.row, args.task)}'))


def show(choice: Choice) -> None:
    """Print an answer, with what it rests on."""
    print(f'\n{printable(choice.setting)}\n')
    standing, *lines = answer_lines(choice.answer, choice.without_figure)
    print(printable(standing))
    for line in choice.elsewhere:
        print(printable(f'But, as published elsewhere, {line}'))
    print()
    rich.print(front_table(choice.answer))
    print(*map(printable, lines), sep='\n')
    for reason, labels in choice.left_out.items():
        print(printable(f'Left out: {", ".join(labels)}: {reason}.'))


if __name__ == '__main__':
    with exit_on_user_error():
        main()
