"""Convert what an annotation tool has exported to COCO; every repair and loss is named.

Reads COCO, VOC, YOLO (boxes and polygons), LabelMe, VIA, CVAT and a PNG for each object. Masks are kept, and images
stay where they are.
"""

import argparse

from mmfasternet.datasets.formats import FORMATS, convert_source
from mmfasternet.errors import exit_on_user_error


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder that holds images and annotations')
    parser.add_argument('--out', required=True, help='folder to write annotations/instances_*.json to')
    parser.add_argument('--format', choices=FORMATS, help='format of the source (default: the one that is found)')
    parser.add_argument('--skip-bad', action='store_true', help='leave out files that cannot be read')
    parser.add_argument('--val', type=float, default=0.2, help='share to evaluate on, if the source has no split')
    parser.add_argument('--seed', type=int, default=0, help='the same seed gives the same split')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    print(convert_source(args.source, args.out, args.format, args.skip_bad, args.val, args.seed))


if __name__ == '__main__':
    with exit_on_user_error():
        main()
