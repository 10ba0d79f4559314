"""Redundancy of feature maps (the paper's Fig. 3): how similar the channels of an early layer are.

For any network and images. The default is a ResNet-50 detector that is trained here on generated images, which takes
two cores some minutes, and the photographs of scikit-image.
"""

import argparse
from pathlib import Path

from mmfasternet.benchmark.paper.arguments import add_subject
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.report.command import new_parser, run_command
from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import exit_on_user_error
from mmfasternet.weights.reader import trust_checkpoints


def parse_args() -> argparse.Namespace:
    parser = new_parser(
        __doc__, 'work_dirs/paper/redundancy', 'a ResNet-18 trained for one epoch, one small photograph'
    )
    add_subject(parser)
    parser.add_argument('--layer', default='layer1', help='name of the layer in the backbone; default: %(default)s')
    parser.add_argument('--images', help='an image or a folder; default: the photographs of scikit-image')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    provide_ops()
    trust_checkpoints(args.trust_checkpoint)
    # Imported here, since they need the extra for drawing, whose absence is explained.
    from mmfasternet.benchmark.paper.photographs import photographs
    from mmfasternet.benchmark.paper.redundancy.measure import Plan, measure_redundancy
    from mmfasternet.benchmark.paper.redundancy.report import REPORT
    from mmfasternet.benchmark.paper.subject import choose_subject

    def measure(path: Path) -> Records:
        images = photographs(args.images)
        plan = Plan(images[:1], args.layer, pixels=96) if args.quick else Plan(images, args.layer)
        default = 'trained_resnet18' if args.quick else 'trained_resnet50'
        subject = choose_subject(args.config, args.timm, args.checkpoint, default, args.quick)
        return measure_redundancy(subject, plan, path)

    run_command(args, measure, REPORT.write)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
