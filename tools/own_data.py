"""Convert an annotation tool's export to COCO and a config.

Reads COCO, VOC, YOLO (boxes and polygons), LabelMe, VIA, CVAT and a PNG for each object. Masks are kept, images stay
where they are, and every repair and loss is named. The config trains a light detector on a CPU.
"""

import argparse
from pathlib import Path

from mmfasternet.datasets.formats import FORMATS, convert_source
from mmfasternet.datasets.recipe import DETECTORS, plan_training, write_config
from mmfasternet.engine.config import project_root
from mmfasternet.errors import exit_on_user_error, printable
from mmfasternet.models.variants import VARIANTS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder that holds images and annotations')
    parser.add_argument('--out', required=True, help='folder to write annotations/instances_*.json and config.py to')
    parser.add_argument('--format', choices=FORMATS, help='format of the source (default: the one that is found)')
    parser.add_argument('--skip-bad', action='store_true', help='leave out files that cannot be read')
    parser.add_argument('--val', type=float, default=0.2, help='share to evaluate on, if the source has no split')
    parser.add_argument('--seed', type=int, default=0, help='the same seed gives the same split')
    parser.add_argument(
        '--detector',
        choices=['auto', *DETECTORS],
        default='auto',
        help='of the config (default: mask_rcnn if all objects have masks, else retinanet)',
    )
    parser.add_argument(
        '--arch', choices=VARIANTS, default='t0', help='variant of FasterNet in the config (default: t0)'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    print(convert_source(args.source, args.out, args.format, args.skip_bad, args.val, args.seed))
    out, config = Path(args.out), Path(args.out, 'config.py')
    if config.exists():
        note = 'is there already and stays as it is; remove it to have it written anew'
    else:
        recipe = plan_training(out / 'annotations/instances_train.json', args.detector)
        write_config(config, recipe, project_root() / 'configs', out, args.source, args.arch)
        note = f'trains a light {DETECTORS[recipe.detector][0]} from random weights: mmfasternet train {config}'
    print(printable(f'{config}: {note}'))


if __name__ == '__main__':
    with exit_on_user_error():
        main()
