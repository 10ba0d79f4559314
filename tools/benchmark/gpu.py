"""Measure FasterNet on one NVIDIA GPU: is it right, how fast is each way to run it, and what does training cost.

Stages run in the order given, each for itself: one that fails is reported and the next begins, and none begins that the
budget has no time for. Everything is saved at once. --device cpu --quick rehearses all that needs no GPU.
"""

import sys
from pathlib import Path

from mmfasternet.benchmark.gpu.stages import QUICK, STAGES, Plan, run_stages
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.command import new_parser, run_command
from mmfasternet.engine.build import check_device
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import exit_on_user_error


def main() -> None:
    parser = new_parser(__doc__, 'work_dirs/gpu', 'one variant on small images, one round')
    parser.add_argument('--device', default='cuda:0', help='a GPU, or cpu to rehearse; default: %(default)s')
    parser.add_argument(
        '--stages',
        nargs='+',
        choices=STAGES,
        metavar='STAGE',
        help=f'some of {", ".join(STAGES)}; the page is then drawn by --report-only; default: all',
    )
    parser.add_argument('--budget', type=float, default=900, help='seconds in all; default: %(default)s')
    args = parser.parse_args()
    provide_ops()
    plan, failed = QUICK if args.quick else Plan(), []

    def measure(path: Path) -> Records:
        check_device(args.device)
        failed.extend(run_stages(plan, args.stages or list(STAGES), args.device, path.parent, args.budget))
        return Records.read(path)

    # Imported here, since it needs the extra for drawing.
    from mmfasternet.benchmark.gpu.report import write_gpu

    run_command(
        args,
        measure,
        (lambda records, out_dir: {'records': records.path}) if args.stages else write_gpu,
        # Before anything was measured, the page says what is predicted.
        lambda path: Records.read(path) if path.exists() else None,
    )
    if failed:
        sys.exit(f'failed: {", ".join(failed)}')


if __name__ == '__main__':
    with exit_on_user_error():
        main()
