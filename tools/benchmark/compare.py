"""Compare latency against published AP: count, measure, and draw one page with the published figures beside."""

import argparse
from functools import partial

from mmfasternet.benchmark.comparison.compare import compare
from mmfasternet.benchmark.comparison.report import write_report
from mmfasternet.benchmark.comparison.sent import read_sent
from mmfasternet.benchmark.measure.enough import Enough
from mmfasternet.benchmark.measure.latency import MEMORY_FORMATS, Protocol
from mmfasternet.benchmark.measure.precision import PRECISIONS
from mmfasternet.benchmark.published.rows import BUILT_ROWS, find_row
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.command import new_parser, run_command
from mmfasternet.engine.config import project_root
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import UserError, exit_on_user_error, printable
from mmfasternet.weights.reader import add_trust_checkpoint

# For two cores: at most 45 minutes for the first, 5 for the second.
COMPLETE = dict(shape=(800, 1280), rounds=3, enough=Enough(budget_s=40 * 60))
QUICK = dict(shape=(320, 512), rounds=1, enough=Enough(runs=10, seconds=1, budget_s=4 * 60))


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, 'work_dirs/compare', 'images of 320 × 512, one round')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='rows or config files to compare; default: all rows')
    parser.add_argument('--device', default=Protocol.device, help='cpu, cuda:0, …; default: %(default)s')
    parser.add_argument('--threads', type=int, help="torch's threads on the CPU; default: torch's own choice")
    parser.add_argument(
        '--precision', choices=PRECISIONS, default=Protocol.precision, help='fp16 and bf16 by autocast; default: fp32'
    )
    parser.add_argument(
        '--memory-format', choices=MEMORY_FORMATS, default=Protocol.memory_format, help='default: %(default)s'
    )
    parser.add_argument(
        '--records', nargs='+', default=[], metavar='FILE', help='records of other machines to draw as well'
    )
    parser.add_argument('--check', metavar='FILE', help='only judge a file of records that somebody sent')
    parser.add_argument('--ap', nargs='+', default=[], metavar='ROW=JSON', help='AP from the JSON of an earlier test')
    parser.add_argument('--checkpoint', nargs='+', default=[], metavar='ROW=FILE', help='weights to test now')
    add_trust_checkpoint(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.check:
        check(args.check)
        return
    provide_ops()
    community = sorted((project_root() / 'docs/results/community').glob('*.json'))
    others = [Records.read(path) for path in (*args.records, *community)]
    bring_up_to_date = partial(
        compare,
        rows=[find_row(name) for name in args.rows] if args.rows else BUILT_ROWS,
        protocol=Protocol(
            device=args.device,
            threads=args.threads,
            precision=args.precision,
            memory_format=args.memory_format,
            path='folded',
            **(QUICK if args.quick else COMPLETE),
        ),
        metrics=pairs('--ap', args.ap),
        checkpoints=pairs('--checkpoint', args.checkpoint),
        trust_checkpoint=args.trust_checkpoint,
    )
    run_command(
        args,
        bring_up_to_date,
        lambda records, out_dir: write_report([records, *others], out_dir),
        partial(bring_up_to_date, measure=False),
    )


def check(path: str) -> None:
    """Say what can't be true of a file of records, and what its readers should know."""
    records, faults, doubts = read_sent(path)
    for line in doubts:
        print(printable(f'note: {line}'))
    if faults:
        raise UserError(f'{path} cannot be true:\n' + '\n'.join(faults))
    print(printable(f'{path}: {len(records.records)} records of {records.machine["label"]}, nothing impossible'))


def pairs(option: str, texts: list[str]) -> dict[str, str]:
    """ROW=VALUE, given several times, as a dict."""
    for text in texts:
        if '=' not in text:
            raise UserError(f'{option} takes ROW=FILE, but got {text!r}')
    return dict(text.split('=', 1) for text in texts)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
