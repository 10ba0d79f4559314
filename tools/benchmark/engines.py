"""Measure FasterNet in every engine beside timm's: latencies, share of the machine's peak, a profile, and training.

Every finished cell is saved at once.
"""

from pathlib import Path

from mmfasternet.benchmark.engines.measure import Plan, measure_all
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.command import new_parser, run_command
from mmfasternet.errors import exit_on_user_error

SMALL = ('t0', (96, 128))
QUICK = Plan(archs=SMALL[:1], shapes=SMALL[1:], rounds=1, profiles=(SMALL,), training=(*SMALL, 2))


def main() -> None:
    args = new_parser(__doc__, 'work_dirs/engines', 'one variant on small images, one round').parse_args()
    # Imported here, since it needs the extra for drawing.
    from mmfasternet.benchmark.engines.report import write_engines

    def measure(path: Path) -> Records:
        records = Records.open(path)
        measure_all(QUICK if args.quick else Plan(), records)
        return records

    run_command(args, measure, write_engines)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
