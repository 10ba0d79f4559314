"""Test a detector, segmentor or classifier; the arguments are those of mmdet's and mmseg's tools/test.py."""

import argparse
import os

from mmfasternet.engine.config import load_config
from mmfasternet.engine.ops import provide_ops
from mmfasternet.engine.options import add_cfg_options
from mmfasternet.engine.testing import evaluate
from mmfasternet.errors import exit_on_user_error
from mmfasternet.weights.reader import add_trust_checkpoint, trust_checkpoints


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='path or URL of a checkpoint')
    parser.add_argument('--work-dir', help='folder for logs and metrics; default: work_dirs/<name of the config>')
    parser.add_argument(
        '--out',
        help="pickle file for a detector's predictions, folder for a segmentor's maps, JSON file for a classifier's "
        'scores',
    )
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument(
        '--show-dir',
        help="folder for drawn predictions; a detector's is created in work_dir/timestamp, a segmentor's has them in "
        'vis_data/vis_image',
    )
    parser.add_argument('--wait-time', type=float, default=2, help='seconds for which --show shows each image')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation (horizontal flip)')
    add_trust_checkpoint(parser)
    add_cfg_options(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    provide_ops()
    trust_checkpoints(args.trust_checkpoint)
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    cfg.launcher = args.launcher
    evaluate(cfg, args.checkpoint, args.out, args.show, args.show_dir, args.wait_time, args.tta)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
