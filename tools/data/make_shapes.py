"""Generate the shapes data set: COCO-format boxes and masks, and ADE20K-style semantic maps.

The defaults are the data of the demo. A data set that is already there is replaced only if it was made by this command
and has not changed since.
"""

import argparse

import rich

from mmfasternet.datasets import make_shapes, statistics_table
from mmfasternet.errors import exit_on_user_error


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('root', nargs='?', default='data/shapes', help='folder of the data set')
    parser.add_argument('--num-train', type=int, default=600, help='images to train on')
    parser.add_argument('--num-val', type=int, default=120, help='images to evaluate on')
    parser.add_argument('--size', type=int, nargs=2, default=(192, 256), metavar=('HEIGHT', 'WIDTH'), help='in pixels')
    parser.add_argument('--difficulty', type=float, default=0.1, help='0 (easy) to 1 (hard)')
    parser.add_argument('--seed', type=int, default=0, help='the same seed gives the same bytes')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    root = make_shapes(args.root, args.num_train, args.num_val, tuple(args.size), args.difficulty, args.seed)
    rich.print(statistics_table(root))


if __name__ == '__main__':
    with exit_on_user_error():
        main()
