"""The T shape (the paper's Sec. 3.3 and Fig. 6): where 3×3 filters have their largest norm, trained and random ones.

Takes the checkpoint of any model. Without one, it is a ResNet-18 detector that is trained here on generated pictures,
which takes two cores some minutes. Stopped at any point, the same command goes on from there.
"""

import argparse
from pathlib import Path

import rich

from mmfasternet.benchmark.records import read_records
from mmfasternet.errors import one_sentence_errors, require_ops

OUT_DIR = 'work_dirs/studies/saliency'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--checkpoint', help='path or address of any weights; default: a ResNet-18 trained here')
    parser.add_argument('--quick', action='store_true', help='train for one epoch on a dozen pictures')
    parser.add_argument('--report-only', action='store_true', help='train and count nothing, draw what is there')
    parser.add_argument('--out-dir', help=f'default: {OUT_DIR}, or {OUT_DIR}_quick')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_ops()
    # Imported here, since they need what require_ops and the extra for drawing explain.
    from mmfasternet.studies.saliency import measure_saliency
    from mmfasternet.studies.saliency_report import write_saliency
    from mmfasternet.studies.subject import train_once

    out_dir = Path(args.out_dir or OUT_DIR + '_quick' * args.quick)
    records = out_dir / 'records.json'
    try:
        if args.report_only:
            document = read_records(records)
        elif args.checkpoint:
            document = measure_saliency(args.checkpoint, Path(args.checkpoint).name, records)
        else:
            run = train_once('study_resnet18', args.quick)
            document = measure_saliency(run.checkpoint(), run.row.name, records)
    except KeyboardInterrupt:
        raise SystemExit(f'saliency: stopped; the same command goes on from here ({out_dir})') from None
    for name, path in write_saliency(document, out_dir).items():
        rich.print(f'{name}: {path}')


if __name__ == '__main__':
    with one_sentence_errors():
        main()
