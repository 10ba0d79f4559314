"""Draw the model zoo, a page with parameters and FLOPs of every config, from files of records."""

import argparse

import rich

from mmfasternet.benchmark.comparison.model_zoo import zoo_page
from mmfasternet.benchmark.records.records import read_records
from mmfasternet.errors import one_sentence_errors
from mmfasternet.files import write_whole


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'records', nargs='+', help='files that tools/benchmark/complexity.py --out, or the comparison, wrote'
    )
    parser.add_argument('--out', default='docs/model_zoo.md', help='default: %(default)s')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    rich.print(write_whole(args.out, zoo_page(map(read_records, args.records)).encode()))


if __name__ == '__main__':
    with one_sentence_errors():
        main()
