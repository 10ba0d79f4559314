"""Compare a detector's files in their runtimes: AP, latency, throughput, start, memory and size, all of that very file.

Files are those of tools/export.py (*.onnx, *.ncnn.param, *.pte), the OpenVINO IR (*.xml) of an ONNX file, and the
checkpoint (*.pth) as the reference. Without files, the demo's are exported and measured. Every finished part is saved
at once.
"""

import os
from pathlib import Path

from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.command import new_parser, run_command
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import UserError, exit_on_user_error
from mmfasternet.weights.reader import add_trust_checkpoint, trust_checkpoints


def main() -> None:
    provide_ops()
    # Imported here, since it would import mmdet without mmcv's ops, and needs the extras for drawing and exporting.
    from mmfasternet.benchmark.artifacts.measure import Plan, measure_artifacts
    from mmfasternet.benchmark.artifacts.report import write_artifacts
    from mmfasternet.benchmark.artifacts.runtimes import RUNTIMES

    parser = new_parser(__doc__, 'work_dirs/artifacts', '20 images, a second of runs, one start')
    parser.add_argument(
        'files', nargs='*', metavar='FILE', help='*.onnx, *.xml, *.ncnn.param, *.pte or *.pth; default: the demo'
    )
    parser.add_argument('--data', metavar='CONFIG', help='config whose test data is used, and of a checkpoint')
    parser.add_argument('--runtimes', nargs='+', choices=RUNTIMES, default=list(RUNTIMES), help='default: all')
    parser.add_argument(
        '--records',
        nargs='+',
        default=[],
        metavar='FILE',
        help='records of other machines, such as boards',
    )
    add_trust_checkpoint(parser)
    args = parser.parse_args()
    trust_checkpoints(args.trust_checkpoint)
    plan = Plan(images=20, timed=20, seconds=1, starts=1) if args.quick else Plan()

    def measure(path: Path) -> Records:
        if bool(args.files) != bool(args.data):
            raise UserError('files and --data go together: name the config of the data that the files are tested on')
        if args.files:
            config, files = args.data, args.files
        else:
            # Imported here, since files that are there need no export.
            from mmfasternet.benchmark.artifacts.demo import demo_files

            # It is for COCO, and would move the demo's data.
            os.environ.pop('MMDET_DATASETS', None)
            config, files = demo_files(path.parent, args.quick)
        records = Records.open(path)
        measure_artifacts(files, config, records, args.runtimes, plan, args.trust_checkpoint)
        return records

    others = [Records.read(path) for path in args.records]
    run_command(args, measure, lambda records, out_dir: write_artifacts(records, out_dir, others))


if __name__ == '__main__':
    with exit_on_user_error():
        main()
