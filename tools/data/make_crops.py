"""Crop the objects of a shapes data set: a folder per class, in ImageNet's layout."""

import argparse

from mmfasternet.datasets import make_crops
from mmfasternet.errors import exit_on_user_error


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder of the data set, as make_shapes writes it')
    parser.add_argument('root', help='folder to write, which must not exist')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    make_crops(args.source, args.root)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
