"""Detect objects in a picture or a folder of pictures: drawn pictures and COCO-format JSON come out."""

import argparse

from mmengine.config import DictAction

from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError, one_sentence_errors, require_ops
from mmfasternet.weights.reader import use_safe_reader


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('inputs', help='picture, or folder of pictures')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file, or its address')
    parser.add_argument('--out-dir', default='outputs', help='folder for vis/ and predictions.json; default: outputs')
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score to draw and write; default: 0.3')
    parser.add_argument('--batch-size', type=int, default=1, help='pictures at a time; default: 1')
    parser.add_argument('--device', help='such as cpu or cuda:0; default: a GPU if there is one')
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='unpickle anything that the checkpoint asks for'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override, as key=value')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    require_ops()
    # Imported here, since it needs mmcv's ops, whose absence has an error of its own.
    from mmfasternet.engine.inference import find_pictures, predict_pictures

    cfg = load_config(args.config, args.cfg_options)
    if cfg.get('default_scope') != 'mmdet':
        raise UserError(
            f'{args.config} is no detector; tools/test.py draws what a segmentor predicts, with --show-dir, and what a '
            'classifier does, with --cfg-options default_hooks.visualization.enable=True'
        )
    use_safe_reader(trust=args.trust_checkpoint)
    pictures = find_pictures(args.inputs)
    path = predict_pictures(cfg, args.checkpoint, pictures, args.out_dir, args.score_thr, args.batch_size, args.device)
    print(f'{len(pictures)} drawn pictures in {args.out_dir}/vis, detections in {path}')


if __name__ == '__main__':
    with one_sentence_errors():
        main()
