"""Approximation (the paper's Table 2): how well DWConv, GConv or PConv, with a PWConv behind, do what a Conv does.

Takes any network and pictures. Without arguments, it is a ResNet-50 detector that is trained here on generated
pictures, which takes two cores some minutes, on those pictures. Every finished fit is saved at once. Stopped at any
point, the same command goes on from there.
"""

import argparse
from pathlib import Path

from mmfasternet.benchmark.paper.command import new_parser, run_study
from mmfasternet.errors import one_sentence_errors, require_ops


def parse_args() -> argparse.Namespace:
    parser = new_parser(__doc__, 'approximation', 'a ResNet-18 and fits of one epoch, on a few pictures')
    parser.add_argument('--config', help='config of any detector, segmentor or classifier')
    parser.add_argument('--timm', metavar='NAME', help="timm's name of a classifier, instead of a config")
    parser.add_argument('--checkpoint', help="path or address of its weights; default: timm's download")
    parser.add_argument('--images', help='a folder of pictures; default: the generated pictures')
    parser.add_argument('--count', type=int, default=200, help='how many of them at most; default: %(default)s')
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='seeds 0 to N - 1; default: %(default)s')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_ops()
    # Imported here, since they need what require_ops and the extra for drawing explain.
    from mmfasternet.benchmark.paper.approximation.measure import Plan, measure_approximation
    from mmfasternet.benchmark.paper.approximation.report import write_approximation
    from mmfasternet.benchmark.paper.subject import choose_subject, generated_pictures
    from mmfasternet.engine.inference import find_pictures

    def measure(records: Path) -> dict:
        images = list(find_pictures(args.images or generated_pictures(args.quick)))[: args.count]
        short = dict(seeds=(0,), pixels=64, epochs=1) if args.quick else dict(seeds=tuple(range(args.seeds)))
        plan = Plan(images, **short)
        default = 'trained_resnet18' if args.quick else 'trained_resnet50'
        subject = choose_subject(args.config, args.timm, args.checkpoint, default, args.quick)
        return measure_approximation(subject, plan, records)

    run_study('approximation', args, measure, write_approximation)


if __name__ == '__main__':
    with one_sentence_errors():
        main()
