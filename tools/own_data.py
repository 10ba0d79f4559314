"""Train a detector on any annotation tool's export.

Reads COCO, VOC, YOLO (boxes and polygons), LabelMe, VIA, CVAT and a PNG for each object; masks are kept, images stay
where they are, and every repair and loss is named. Writes a COCO data set, a config and a report of the data to OUT.
With --train it also trains, tests, explains and exports; interrupted, the same command resumes. Of semantic maps and of
folders of classes it makes a segmentor or classifier.
"""

import argparse
import sys
from pathlib import Path

import torch

from mmfasternet.benchmark.records import save_outcome
from mmfasternet.datasets.formats import FORMATS, LABELS, convert_source, find_format
from mmfasternet.datasets.recipe import DETECTORS, STARTS
from mmfasternet.engine.launch import tool_command
from mmfasternet.engine.own_data import parse_duration, prepare_config, train_own_data
from mmfasternet.engine.own_labels import prepare_labels
from mmfasternet.errors import UserError, exit_on_user_error, printable
from mmfasternet.models.variants import VARIANTS
from mmfasternet.reports.data.report import write_data_report


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder that holds images and annotations')
    parser.add_argument('--out', required=True, help='folder to write the data set and config.py to')
    parser.add_argument(
        '--format', choices=[*FORMATS, *LABELS], help='format of the source (default: the one that is found)'
    )
    parser.add_argument('--map', metavar='VALUE=CLASS,…', help='what the values in semantic maps mean')
    parser.add_argument('--skip-bad', action='store_true', help='leave out files that cannot be read')
    parser.add_argument('--val', type=float, default=0.2, help='share to evaluate on, if the source has no split')
    parser.add_argument('--seed', type=int, default=0, help='the same seed gives the same split')
    parser.add_argument(
        '--detector',
        choices=['auto', *DETECTORS],
        default='auto',
        help='of the config (default: mask_rcnn if all objects have masks, else one of boxes)',
    )
    parser.add_argument('--arch', choices=VARIANTS, help='variant of FasterNet (default: t0; s if released)')
    parser.add_argument(
        '--from',
        dest='start',
        choices=STARTS,
        help="random weights, or the authors' detector trained on COCO (default: released if there is a GPU)",
    )
    parser.add_argument('--train', action='store_true', help='train, test, explain and export as well')
    parser.add_argument('--budget', metavar='TIME', help='with --train: how long it may take here, such as 20m')
    args = parser.parse_args()
    if args.budget and not args.train:
        parser.error('--budget is for --train')
    return args


def main() -> None:
    args = parse_args()
    budget = parse_duration(args.budget) if args.budget else None
    start = args.start or ('released' if torch.cuda.is_available() else 'scratch')
    format, choices = find_format(args.source, args.format), (args.skip_bad, args.val, args.seed)
    if format in LABELS:
        for option, given in (('--detector', args.detector != 'auto'), ('--from', args.start)):
            if given:
                raise UserError(f'{option} is for detectors, but {args.source} is read as {format}; leave it out')
        text, config, note = prepare_labels(format, args.source, args.out, args.map, args.arch, *choices, budget)
        print(text)
    elif args.map:
        raise UserError(f'--map is for semantic maps, but {args.source} is read as {format}')
    else:
        text, source = convert_source(args.source, args.out, args.format, *choices)
        print(text)
        config, recipe, note = prepare_config(args.out, args.source, args.detector, start, args.arch, budget)
        report = Path(args.out, 'report.html')
        found = write_data_report(report, source, recipe, f'{config}: {note}')
        print(printable('\n'.join([*found, f'{report}: the data in figures and images'])))
    print(printable(f'{config}: {note}'))
    if args.train:
        trained = train_own_data(config, args.out)
        out = Path(args.out).resolve()
        save_outcome(out / 'records.json', 'own_data', out.name, trained.metrics, trained.seconds)
        print(printable('\n'.join(trained.lines())))
    else:
        print(f'next: {tool_command("train", [config])}')


if __name__ == '__main__':
    try:
        with exit_on_user_error():
            main()
    except KeyboardInterrupt:
        sys.exit('interrupted; the same command resumes')
