"""Train a detector, segmentor or classifier; the arguments are those of mmdet's and mmseg's tools/train.py."""

import argparse
import os
import sys

from mmengine.dist import is_main_process

from mmfasternet.engine.config import load_config
from mmfasternet.engine.launch import tool_command
from mmfasternet.engine.ops import provide_ops
from mmfasternet.engine.options import add_cfg_options
from mmfasternet.engine.outcome import describe_outcome
from mmfasternet.engine.training import train
from mmfasternet.errors import exit_on_user_error, printable
from mmfasternet.weights.reader import add_trust_checkpoint, trust_checkpoints


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; default: work_dirs/<name of the config>')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision, in float16; with --cfg-options optim_wrapper.dtype=bfloat16, in bfloat16',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate to the actual batch size')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from the newest complete checkpoint in the work dir, or from the one given here',
    )
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
    try:
        runner = train(cfg, args.amp, args.auto_scale_lr, args.resume)
    except SystemExit:
        # A signal has stopped it.
        if is_main_process():
            print(f'stopped; to resume: {resume_line(args)}')
        raise
    if is_main_process():
        print(printable('\n'.join(describe_outcome(runner, args.config))))


def resume_line(args: argparse.Namespace) -> str:
    """The command that resumes what this one has begun."""
    if args.launcher != 'none':
        return 'the same command with --resume'
    words, former = sys.argv[1:], ['--resume', args.resume]
    pairs = zip(words, [None, *words], strict=False)
    kept = [word for word, before in pairs if not word.startswith('--resume') and [before, word] != former]
    return tool_command('train', [*kept, '--resume'])


if __name__ == '__main__':
    with exit_on_user_error():
        main()
