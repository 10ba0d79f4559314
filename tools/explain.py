"""Explain a result of a detector, segmentor or classifier: metrics, errors and advice, as a page.

The page, result.html, needs no network. A detector's files may be those of any detector; mmdet writes them where its
config has test_evaluator.outfile_prefix. What a segmentor or classifier predicts, tools/test.py --out writes.
"""

import argparse
from pathlib import Path

from mmfasternet.errors import exit_on_user_error, printable
from mmfasternet.reports.result.explain import explain_result
from mmfasternet.reports.result.labels.explain import explain_classes, explain_maps


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'truth', help='annotations in the format of COCO; or a list of own_data.py, semantic/val.txt or labels/val.txt'
    )
    parser.add_argument(
        'predictions',
        nargs='+',
        help='COCO results: NAME.bbox.json, NAME.segm.json, or both; or a folder of maps, or a JSON of scores',
    )
    parser.add_argument('--images', required=True, help='folder that the file names of the truth start in')
    parser.add_argument('--out', default='work_dirs/explain', help='folder to write to; default: work_dirs/explain')
    parser.add_argument(
        '--image-size',
        nargs=2,
        type=int,
        metavar=('LONGER', 'SHORTER'),
        help='upper limits of the sides that the detector resizes images to, to tell how large it sees the objects',
    )
    parser.add_argument('--milliseconds', type=float, metavar='MS', help='what an image took in the test, to show it')
    args = parser.parse_args()
    if args.truth.endswith('.txt') and (args.image_size or len(args.predictions) > 1):
        parser.error('a list of images goes with one folder or file of predictions, and without --image-size')
    return args


def main() -> None:
    args = parse_args()
    facts = {'ms an image in the test': f'{args.milliseconds:.0f}'} if args.milliseconds else {}
    if not args.truth.endswith('.txt'):
        said = explain_result(args.truth, args.predictions, args.images, args.out, facts, args.image_size)
    else:
        (predictions,) = args.predictions
        explain = explain_maps if Path(predictions).is_dir() else explain_classes
        said = explain(args.truth, predictions, args.images, args.out, facts)
    print(printable(said))
    print(printable(f'page: {Path(args.out, "result.html")}'))


if __name__ == '__main__':
    with exit_on_user_error():
        main()
