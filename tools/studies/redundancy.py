"""Redundancy of feature maps (the paper's Fig. 3): how much the channels of an early layer are like each other.

Takes any network and photographs. Without arguments, it is a ResNet-50 detector that is trained here on generated
pictures, which takes two cores some minutes, on photographs of scikit-image. Stopped at any point, the same command
goes on from there.
"""

import argparse
from pathlib import Path

import rich

from mmfasternet.benchmark.records import read_records
from mmfasternet.errors import one_sentence_errors, require_ops

OUT_DIR = 'work_dirs/studies/redundancy'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', help='config of any detector, segmentor or classifier')
    parser.add_argument('--timm', metavar='NAME', help="timm's name of a classifier, instead of a config")
    parser.add_argument('--checkpoint', help="path or address of its weights; default: timm's download")
    parser.add_argument('--layer', default='layer1', help='name of the layer in the backbone; default: %(default)s')
    parser.add_argument('--images', help="a picture or a folder; default: scikit-image's photographs")
    parser.add_argument('--quick', action='store_true', help='a ResNet-18 trained for one epoch, one small photograph')
    parser.add_argument('--report-only', action='store_true', help='train and measure nothing, draw what is there')
    parser.add_argument('--out-dir', help=f'default: {OUT_DIR}, or {OUT_DIR}_quick')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_ops()
    # Imported here, since they need what require_ops and the extra for drawing explain.
    from mmfasternet.studies.pictures import photographs
    from mmfasternet.studies.redundancy import Plan, measure_redundancy
    from mmfasternet.studies.redundancy_report import write_redundancy
    from mmfasternet.studies.subject import choose_subject

    out_dir = Path(args.out_dir or OUT_DIR + '_quick' * args.quick)
    records = out_dir / 'records.json'
    try:
        if args.report_only:
            document = read_records(records)
        else:
            pictures = photographs(args.images)
            plan = Plan(pictures[:1], args.layer, pixels=96) if args.quick else Plan(pictures, args.layer)
            default = 'study_resnet18' if args.quick else 'study_resnet50'
            subject = choose_subject(args.config, args.timm, args.checkpoint, default, args.quick)
            document = measure_redundancy(subject, plan, records)
    except KeyboardInterrupt:
        raise SystemExit(f'redundancy: stopped; the same command goes on from here ({out_dir})') from None
    for name, path in write_redundancy(document, out_dir).items():
        rich.print(f'{name}: {path}')


if __name__ == '__main__':
    with one_sentence_errors():
        main()
