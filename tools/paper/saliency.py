"""The T shape (the paper's Sec. 3.3 and Fig. 6): where 3×3 filters have their largest norm, trained and random ones.

For the checkpoint of any model. The default is a ResNet-18 detector that is trained here on generated images, which
takes two cores some minutes.
"""

import argparse
from pathlib import Path

from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.command import new_parser, run_command
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import exit_on_user_error
from mmfasternet.weights.reader import add_trust_checkpoint, trust_checkpoints


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, 'work_dirs/paper/saliency', 'one epoch of training on a dozen images')
    parser.add_argument('--checkpoint', help='path or URL of any weights; default: a ResNet-18 trained here')
    add_trust_checkpoint(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    provide_ops()
    trust_checkpoints(args.trust_checkpoint)
    # Imported here, since they need the extra for drawing, whose absence is explained.
    from mmfasternet.benchmark.paper.saliency.measure import measure_saliency
    from mmfasternet.benchmark.paper.saliency.report import REPORT
    from mmfasternet.benchmark.paper.subject import train_once

    def measure(path: Path) -> Records:
        if args.checkpoint:
            return measure_saliency(args.checkpoint, Path(args.checkpoint).name, path)
        run = train_once('trained_resnet18', args.quick)
        return measure_saliency(run.checkpoint(), run.row.name, path)

    run_command(args, measure, REPORT.write)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
