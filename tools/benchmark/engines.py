"""FasterNet in every engine beside timm's: latencies, share of the machine's peak, a profile, and training.

Every finished cell is saved at once. Stopped at any point, the same command goes on from there.
"""

import argparse
from pathlib import Path

import rich

from mmfasternet.benchmark.engines.measure import Plan, measure_all
from mmfasternet.benchmark.records.records import read_records
from mmfasternet.errors import one_sentence_errors, require_ops

SMALL = ('t0', (96, 128))
QUICK = Plan(archs=SMALL[:1], shapes=SMALL[1:], rounds=1, profiles=(SMALL,), training=(*SMALL, 2))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='one variant on small pictures, one round')
    parser.add_argument('--report-only', action='store_true', help='measure nothing, draw what is there')
    parser.add_argument('--out-dir', help='default: work_dirs/engines, or work_dirs/engines_quick')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_ops()
    # Imported here, since it needs the extra for drawing.
    from mmfasternet.benchmark.engines.report import write_engines_report

    out_dir = Path(args.out_dir or ('work_dirs/engines_quick' if args.quick else 'work_dirs/engines'))
    records = out_dir / 'records.json'
    try:
        document = read_records(records) if args.report_only else measure_all(QUICK if args.quick else Plan(), records)
    except KeyboardInterrupt:
        raise SystemExit(f'engines: stopped; the same command goes on from here ({out_dir})') from None
    for name, path in write_engines_report(document, out_dir).items():
        rich.print(f'{name}: {path}')


if __name__ == '__main__':
    with one_sentence_errors():
        main()
