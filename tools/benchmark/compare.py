"""The latency-vs-mAP comparison: count, measure, and draw one page, with the published figures beside.

Every finished turn is saved at once. Stopped at any point, the same command goes on from there.
"""

import argparse

import rich

from mmfasternet.benchmark.comparison.compare import compare
from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.benchmark.published.rows import ROWS, find_row
from mmfasternet.errors import UserError, one_sentence_errors, require_ops

# Two cores take half an hour for the first, four minutes for the second.
WHOLE = dict(shape=(800, 1280), rounds=3, warmup=1, runs=2)
QUICK = dict(shape=(320, 512), rounds=1, warmup=1, runs=2)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='pictures of 320 × 512, one round')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='rows or config files to compare; default: all rows')
    parser.add_argument('--device', default=Protocol.device, help='cpu, cuda:0, …; default: %(default)s')
    parser.add_argument('--threads', type=int, help='threads of torch on the CPU; default: as many as torch takes')
    parser.add_argument(
        '--records', nargs='+', default=[], metavar='FILE', help='records of other machines, to draw too'
    )
    parser.add_argument(
        '--ap', nargs='+', default=[], metavar='ROW=JSON', help='AP from the JSON that an earlier tools/test.py left'
    )
    parser.add_argument(
        '--checkpoint', nargs='+', default=[], metavar='ROW=FILE', help='weights to test now with tools/test.py'
    )
    parser.add_argument('--report-only', action='store_true', help='count and measure nothing, draw what is there')
    parser.add_argument('--out-dir', help='default: work_dirs/compare, or work_dirs/compare_quick')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_ops()
    out_dir = args.out_dir or ('work_dirs/compare_quick' if args.quick else 'work_dirs/compare')
    protocol = Protocol(device=args.device, threads=args.threads, path='deploy', **(QUICK if args.quick else WHOLE))
    try:
        written = compare(
            rows=[find_row(name) for name in args.rows] if args.rows else list(ROWS),
            protocol=protocol,
            out_dir=out_dir,
            others=args.records,
            metrics=pairs('--ap', args.ap),
            checkpoints=pairs('--checkpoint', args.checkpoint),
            measure=not args.report_only,
        )
    except KeyboardInterrupt:
        raise SystemExit(f'compare: stopped; the same command goes on from here ({out_dir})') from None
    for name, path in written.items():
        rich.print(f'{name}: {path}')


def pairs(option: str, texts: list[str]) -> dict[str, str]:
    """ROW=VALUE, given several times, as a dict."""
    for text in texts:
        if '=' not in text:
            raise UserError(f'{option} takes ROW=FILE, but got {text!r}')
    return dict(text.split('=', 1) for text in texts)


if __name__ == '__main__':
    with one_sentence_errors():
        main()
