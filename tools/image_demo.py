"""Predict an image or a folder of images: draw what is found, and write it as JSON.

A detector's objects are written in COCO's format, a segmentor's maps as PNGs in maps/, and of a classifier the five
most likely classes.
"""

import argparse
import sys

from mmfasternet.datasets import find_images
from mmfasternet.engine.config import load_config
from mmfasternet.engine.ops import provide_ops
from mmfasternet.engine.options import add_cfg_options
from mmfasternet.engine.processes import end_on_signals
from mmfasternet.errors import UserError, exit_on_user_error
from mmfasternet.weights.reader import add_trust_checkpoint, trust_checkpoints


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('inputs', help='image, or folder of images')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='path or URL of a checkpoint')
    parser.add_argument(
        '--out-dir', default='outputs', help='folder for vis/, predictions.json and maps/; default: outputs'
    )
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score of an object; default: 0.3')
    parser.add_argument('--batch-size', type=int, default=1, help='images per batch; default: 1')
    parser.add_argument('--device', help='such as cpu or cuda:0; default: a GPU if there is one')
    add_trust_checkpoint(parser)
    add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    provide_ops()
    # Imported here, since without mmcv's ops its import would fail in another way.
    from mmfasternet.engine.inference import predict_images

    trust_checkpoints(args.trust_checkpoint)
    cfg = load_config(args.config, args.cfg_options)
    images = find_images(args.inputs)
    left_out = predict_images(cfg, args.checkpoint, images, args.out_dir, args.score_thr, args.batch_size, args.device)
    done = len(images) - len(left_out)
    print(f'{done} drawn images in {args.out_dir}/vis, predictions in {args.out_dir}/predictions.json')
    if left_out:
        raise UserError('\n- '.join([f'{len(left_out)} of {len(images)} images are left out:', *left_out.values()]))


if __name__ == '__main__':
    try:
        with exit_on_user_error(), end_on_signals():
            main()
    except KeyboardInterrupt:
        sys.exit('interrupted; what was found until then is in predictions.json')
