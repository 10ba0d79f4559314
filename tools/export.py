"""Export a detector, its neck or its backbone to ONNX: one file of stock operators, checked against PyTorch."""

import argparse

import rich
from rich.markup import escape
from rich.table import Table

from mmfasternet.engine.ops import provide_ops
from mmfasternet.errors import exit_on_user_error
from mmfasternet.weights.reader import add_trust_checkpoint, trust_checkpoints


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', required=True, metavar='FILE.onnx', help='file to write')
    parser.add_argument(
        '--part',
        choices=('backbone', 'neck', 'detector'),
        default='detector',
        help='backbone: normalized images to its feature maps; neck: to the feature maps of the neck; detector: one '
        'image to boxes, scores, labels and masks; default: detector',
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
        '--precision',
        choices=('fp32', 'fp16'),
        default='fp32',
        help='of backbone, neck and heads; inputs, outputs, boxes and scores are float32; default: fp32',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    provide_ops()
    # Imported here, since without mmcv's ops and the runtimes its import would fail in another way.
    from mmfasternet.deploy.export import OPSET, export_onnx

    trust_checkpoints(args.trust_checkpoint)
    exported = export_onnx(args.config, args.out, args.part, args.checkpoint, args.int8, args.precision, args.symmetric)
    table = Table(show_header=False)
    table.add_row('file', escape(f'{exported.path}, {exported.path.stat().st_size / 1e6:.1f} MB'))
    table.add_row('opset', str(OPSET))
    for kind, values in (('input', exported.inputs), ('output', exported.outputs)):
        for name, shape in values.items():
            table.add_row(kind, escape(f'{name}: {shape}'))
    table.add_row('operators', ', '.join(f'{name} {count}' for name, count in sorted(exported.operators.items())))
    table.add_row('ONNX Runtime against PyTorch', exported.difference + (', before int8' if args.int8 else ''))
    rich.print(table)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
