"""Compare mmcv's compiled operators with torchvision's: which take their place where mmcv has none.

They run alone, in a training step and in inference of the demo's detector; its checkpoint is tested with both.
`make ops` compiles mmcv's; `make demo` makes the data and the checkpoint.
"""

from pathlib import Path

from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.command import new_parser, run_command
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import UserError, exit_on_user_error


def main() -> None:
    parser = new_parser(__doc__, 'work_dirs/ops', 'one round')
    parser.add_argument(
        '--checkpoint',
        default='work_dirs/mask_rcnn_fasternet_t0_shapes/epoch_4.pth',
        help="the demo's; default: %(default)s",
    )
    args = parser.parse_args()
    provide_ops()
    # Imported here, since they need the extra for drawing, whose absence is explained.
    from mmfasternet.benchmark.engines.ops import measure_ops, write_ops

    def measure(path: Path) -> Records:
        if not Path(args.checkpoint).is_file():
            raise UserError(f'{args.checkpoint} does not exist; run `make demo` first, or name a checkpoint of it')
        records = Records.open(path)
        measure_ops(args.checkpoint, records, rounds=1 if args.quick else 5)
        return records

    run_command(args, measure, write_ops)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
