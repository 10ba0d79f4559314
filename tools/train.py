"""Train a detector, segmentor or classifier; the arguments are those of mmdet's and mmseg's tools/train.py."""

import argparse
import os

from mmengine.config import DictAction
from mmengine.device import get_device
from mmengine.registry import RUNNERS

from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError, one_sentence_errors, require_ops
from mmfasternet.weights.reader import use_safe_reader


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; default: work_dirs/<name of the config>')
    parser.add_argument('--amp', action='store_true', help='train in automatic mixed precision')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate to the real batch size')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on with the newest whole checkpoint of the work dir, or with the one given here',
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='unpickle anything that checkpoints ask for')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='settings to override, as key=value')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    require_ops()
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    cfg.launcher = args.launcher
    use_safe_reader(trust=args.trust_checkpoint)
    if args.amp:
        if get_device() == 'cpu':
            raise UserError('--amp needs a GPU, and this machine shows none; train without it')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise UserError(f'--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...), which {args.config} lacks')
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    RUNNERS.build(cfg).train()


if __name__ == '__main__':
    with one_sentence_errors():
        main()
