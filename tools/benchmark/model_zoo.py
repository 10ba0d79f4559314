"""Generate the files that repeat facts: the backbones' configs, the metafiles, the READMEs' variants, the model zoo.

Without arguments, all of them are written into this clone, from mmfasternet/models/variants.py,
mmfasternet/benchmark/published/*.csv, the configs, docs/results/*/records.json and docs/results/demo/classifier.json.
Run it after changing any of these; a test fails until you have. With RECORDS, only the model zoo is drawn, a page with
parameters and FLOPs of every config that has a record.
"""

import argparse

from mmfasternet.benchmark.comparison.generated import generated_files
from mmfasternet.benchmark.comparison.model_zoo import zoo_page
from mmfasternet.engine.config import project_root
from mmfasternet.errors import exit_on_user_error
from mmfasternet.files import write_file


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'records',
        nargs='*',
        metavar='RECORDS',
        help='files that complexity --out or compare wrote',
    )
    parser.add_argument('--out', default='docs/model_zoo.md', help='page drawn from RECORDS; default: %(default)s')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.records:
        files = [(args.out, zoo_page(args.records))]
    else:
        root = project_root()
        results = root / 'docs/results'
        files = generated_files(root, [*sorted(results.glob('*/records.json')), results / 'demo/classifier.json'])
    for path, content in files:
        print(write_file(path, content.encode()))


if __name__ == '__main__':
    with exit_on_user_error():
        main()
