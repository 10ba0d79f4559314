"""Predict images or a video with an exported file: draw what is found, and write it as JSON. PyTorch is not needed.

A detector's objects are written in COCO's format, a segmentor's maps as PNGs in maps/, and of a classifier the five
most likely classes, as by image_demo. How images are prepared and the names of the classes are in the file.
"""

import argparse
import sys

from mmfasternet_light import leave_out_torch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'file', metavar='FILE', help='complete model that tools/export.py wrote: *.onnx, *.ncnn.param or *.pte'
    )
    parser.add_argument('inputs', help='image, folder of images, or video')
    parser.add_argument(
        '--out-dir', default='outputs', help='folder for vis/, predictions.json and maps/; default: outputs'
    )
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score of an object; default: 0.3')
    parser.add_argument(
        '--batch-size',
        type=int,
        help='images per batch of a file that takes any number; default: that of the file, or 1',
    )
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    # Imported here, since the package is made ready first.
    from mmfasternet.errors import UserError
    from mmfasternet.predictions.onnx_run import predict_with_file

    done, left_out = predict_with_file(args.file, args.inputs, args.out_dir, args.score_thr, args.batch_size)
    print(f'{done} drawn images in {args.out_dir}/vis, predictions in {args.out_dir}/predictions.json')
    if left_out:
        raise UserError(
            '\n- '.join([f'{len(left_out)} of {done + len(left_out)} images are left out:', *left_out.values()])
        )


if __name__ == '__main__':
    args = parse_args()
    leave_out_torch()
    from mmfasternet.engine.processes import end_on_signals
    from mmfasternet.errors import exit_on_user_error

    try:
        with exit_on_user_error(), end_on_signals():
            main(args)
    except KeyboardInterrupt:
        sys.exit('interrupted; what was found until then is in predictions.json')
