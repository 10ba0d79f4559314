"""Redundancy of feature maps (the paper's Fig. 3): how much the channels of an early layer are like each other.

Takes any network and photographs. Without arguments, it is a ResNet-50 detector that is trained here on generated
pictures, which takes two cores some minutes, on photographs of scikit-image. Stopped at any point, the same command
goes on from there.
"""

import argparse
from pathlib import Path

from mmfasternet.benchmark.paper.command import new_parser, run_study
from mmfasternet.errors import one_sentence_errors, require_ops


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, 'redundancy', 'a ResNet-18 trained for one epoch, one small photograph')
    parser.add_argument('--config', help='config of any detector, segmentor or classifier')
    parser.add_argument('--timm', metavar='NAME', help="timm's name of a classifier, instead of a config")
    parser.add_argument('--checkpoint', help="path or address of its weights; default: timm's download")
    parser.add_argument('--layer', default='layer1', help='name of the layer in the backbone; default: %(default)s')
    parser.add_argument('--images', help="a picture or a folder; default: scikit-image's photographs")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_ops()
    # Imported here, since they need what require_ops and the extra for drawing explain.
    from mmfasternet.benchmark.paper.photographs import photographs
    from mmfasternet.benchmark.paper.redundancy.measure import Plan, measure_redundancy
    from mmfasternet.benchmark.paper.redundancy.report import write_redundancy
    from mmfasternet.benchmark.paper.subject import choose_subject

    def measure(records: Path) -> dict:
        pictures = photographs(args.images)
        plan = Plan(pictures[:1], args.layer, pixels=96) if args.quick else Plan(pictures, args.layer)
        default = 'trained_resnet18' if args.quick else 'trained_resnet50'
        subject = choose_subject(args.config, args.timm, args.checkpoint, default, args.quick)
        return measure_redundancy(subject, plan, records)

    run_study('redundancy', args, measure, write_redundancy)


if __name__ == '__main__':
    with one_sentence_errors():
        main()
