"""Export a model, its neck or its backbone to one file.

It is compared with PyTorch before it is written. Its name says what it is: *.onnx is one file of stock operators;
*.ncnn.param, with its weights in *.ncnn.bin, and *.pte are for phones and boards, for images of one --shape, and have a
JSON beside them that says what they are.
"""

import argparse
from pathlib import Path

import rich
from rich.markup import escape
from rich.table import Table

from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import UserError, exit_on_user_error
from mmfasternet.weights.reader import add_trust_checkpoint, trust_checkpoints


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', required=True, metavar='FILE', help='*.onnx, *.ncnn.param or *.pte')
    parser.add_argument(
        '--part',
        choices=('backbone', 'neck', 'detector'),
        default='detector',
        help='backbone: normalized images to its feature maps; neck: to the feature maps of the neck; detector: the '
        'complete model, also of a segmentor or classifier, from the pixels of one image; default: detector',
    )
    parser.add_argument('--checkpoint', help='path or URL of a checkpoint; without one the weights are random')
    add_trust_checkpoint(parser)
    parser.add_argument(
        '--int8',
        metavar='IMAGES',
        help='convolutions in int8, calibrated on the first 32 images of this folder',
    )
    parser.add_argument(
        '--symmetric', action='store_true', help='with --int8: without zero points, as TensorRT requires'
    )
    parser.add_argument(
        '--max-drop',
        type=float,
        metavar='POINTS',
        help='with --int8: the most points of AP that it may cost a detector on the validation images of the config; '
        'the costliest layers stay float32; default: AP is not measured',
    )
    parser.add_argument(
        '--precision',
        choices=('fp32', 'fp16'),
        default='fp32',
        help='of backbone, neck and heads; inputs, outputs, boxes and scores are float32; default: fp32',
    )
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        metavar=('HEIGHT', 'WIDTH'),
        help='fixed size of images, as NPUs, ncnn and ExecuTorch need it; default: any size',
    )
    parser.add_argument(
        '--batch',
        type=number_of_images,
        metavar='N|dynamic',
        help='number of images; default: 1 of a complete model, else dynamic',
    )
    parser.add_argument(
        '--max-detections', type=int, metavar='N', help='largest number of objects; default: as in the config'
    )
    parser.add_argument(
        '--masks',
        choices=('full', 'small'),
        default='full',
        help="full: each object's pixels in the image; small: probabilities in 28 × 28 cells of its box; default: full",
    )
    return parser.parse_args()


def number_of_images(text: str) -> int | str:
    if text != 'dynamic' and not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is no number of images')
    return text if text == 'dynamic' else int(text)


def main() -> None:
    args = parse_args()
    provide_ops()
    trust_checkpoints(args.trust_checkpoint)
    export = export_onnx if args.out.endswith('.onnx') else export_for_phone
    for table in export(args):
        rich.print(table)


def export_onnx(args: argparse.Namespace) -> list[Table]:
    # Imported here, since without mmcv's ops and the runtimes its import would fail in another way.
    from mmfasternet.deploy import export

    exported = export.export_onnx(
        args.config,
        args.out,
        args.part,
        args.checkpoint,
        args.int8,
        args.precision,
        args.symmetric,
        args.shape,
        args.batch,
        args.max_detections,
        args.masks,
        args.max_drop,
    )
    table = Table(show_header=False)
    table.add_row('file', size_of(exported.path))
    table.add_row('opset', str(export.OPSET))
    for kind, values in (('input', exported.inputs), ('output', exported.outputs)):
        for name, shape in values.items():
            table.add_row(kind, escape(f'{name}: {shape}'))
    table.add_row('operators', ', '.join(f'{name} {count}' for name, count in sorted(exported.operators.items())))
    table.add_row('ONNX Runtime against PyTorch', exported.difference + (', before int8' if args.int8 else ''))
    if accuracy := exported.accuracy:
        for name, text in accuracy.summary():
            table.add_row(name, text)
    tables = [table]
    if accuracy and accuracy.costs:
        costs = Table('layer, the costliest first', 'signal to noise in int8 (dB)', 'written in')
        for place, cost in enumerate(accuracy.costs):
            precision = 'float32' if place < accuracy.kept else 'int8'
            costs.add_row(escape(cost.layer), f'{cost.signal_to_noise:.1f}', precision)
        tables.append(costs)
    return tables


def export_for_phone(args: argparse.Namespace) -> list[Table]:
    from mmfasternet.deploy.phones import ENDINGS, export_for_phone

    if not args.out.endswith(tuple(ENDINGS)):
        raise UserError(f'the file must be named *.onnx, *{" or *".join(ENDINGS)}, but got {args.out}')
    given = dict(int8=args.int8, symmetric=args.symmetric, precision=args.precision == 'fp16')
    given['max-drop'] = args.max_drop is not None
    given.update(batch=args.batch not in (None, 1), masks=args.masks == 'small')
    if others := [f'--{name}' for name, is_given in given.items() if is_given]:
        raise UserError(
            f'{" and ".join(others)} is for *.onnx; files of ncnn and ExecuTorch take one image, compute in float32 '
            'and have no masks: leave it out'
        )
    exported = export_for_phone(args.config, args.out, args.shape, args.part, args.checkpoint, args.max_detections)
    table = Table(show_header=False)
    for path in exported.paths:
        table.add_row('file', size_of(path))
    for number, shape in enumerate(exported.outputs):
        table.add_row(f'output {number}', str(shape))
    table.add_row(f'{exported.runtime} against PyTorch', exported.difference)
    return [table]


def size_of(path: Path) -> str:
    return escape(f'{path}, {path.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__':
    with exit_on_user_error():
        main()
