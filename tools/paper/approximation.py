"""Approximation (the paper's Table 2): how well DWConv, GConv or PConv, followed by a PWConv, approximate a Conv.

For any network and images. The default is a ResNet-50 detector that is trained here on generated images, which takes
two cores some minutes, and these images.
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
    parser = new_parser(__doc__, 'work_dirs/paper/approximation', 'a ResNet-18, fits of one epoch on a dozen images')
    add_subject(parser)
    parser.add_argument('--images', help='a folder of images; default: the generated images')
    parser.add_argument('--count', type=int, default=200, help='at most this many images; default: %(default)s')
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='seeds 0 to N - 1; default: %(default)s')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    provide_ops()
    trust_checkpoints(args.trust_checkpoint)
    # Imported here, since they need the extra for drawing, whose absence is explained.
    from mmfasternet.benchmark.paper.approximation.measure import Plan, measure_approximation
    from mmfasternet.benchmark.paper.approximation.report import REPORT
    from mmfasternet.benchmark.paper.photographs import photographs
    from mmfasternet.benchmark.paper.subject import choose_subject, generated_images

    def measure(path: Path) -> Records:
        images = photographs(args.images or generated_images(args.quick))[: args.count]
        short = dict(seeds=(0,), pixels=64, epochs=1) if args.quick else dict(seeds=tuple(range(args.seeds)))
        plan = Plan(images, **short)
        default = 'trained_resnet18' if args.quick else 'trained_resnet50'
        subject = choose_subject(args.config, args.timm, args.checkpoint, default, args.quick)
        return measure_approximation(subject, plan, path)

    run_command(args, measure, REPORT.write)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
