"""What ``tools/train.py`` does."""

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmfasternet.cores import free_cores
from mmfasternet.errors import UserError

from . import runner as _  # noqa: F401, registers the runner that configs name

__all__ = ['train']


def train(cfg: Config, amp: bool = False, auto_scale_lr: bool = False, resume: str | None = None) -> Runner:
    """Train the model of a config.

    Args:
        cfg: The config, see :func:`~mmfasternet.engine.config.load_config`; it is changed in place.
        amp: Whether to train in automatic mixed precision, on a GPU: in float16 with a scaled loss or, if the config
            has ``optim_wrapper.dtype='bfloat16'``, in bfloat16. Defaults to False.
        auto_scale_lr: Whether to scale the learning rate to the actual batch size. Defaults to False.
        resume: A checkpoint to resume from, or 'auto' for the one in the work dir that is the furthest; if there is
            none, the training starts as the config says. None leaves it to the config. Defaults to None.

    Returns:
        The runner, at the end of the training.

    Raises:
        UserError: If the machine or the config lacks what an argument needs, the data doesn't fit the config, or the
            work dir can't be written.
        CheckpointError: If a checkpoint can't be read or does not fit the model.
    """
    if missing := [key for key in ('train_dataloader', 'train_cfg', 'optim_wrapper') if not cfg.get(key)]:
        raise UserError(f'{cfg.filename} has no {", ".join(missing)}, so there is nothing to train')
    if amp:
        if get_device() == 'cpu':
            raise UserError('--amp needs a GPU, and this machine has none; train without it')
        dtype = cfg.optim_wrapper.get('dtype')
        if dtype not in (None, 'float16', 'bfloat16', torch.float16, torch.bfloat16):
            raise UserError(f'with --amp, optim_wrapper.dtype must be float16 or bfloat16, but got {dtype!r}')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        # bfloat16 has the range of float32, so that small gradients don't vanish.
        wide = dtype in ('bfloat16', torch.bfloat16)
        cfg.optim_wrapper.loss_scale = dict(enabled=False) if wide else 'dynamic'
    if auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise UserError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=…), which the config lacks')
        cfg.auto_scale_lr.enable = True
    if resume is not None:
        cfg.resume = resume if resume == 'auto' else True
        cfg.load_from = cfg.get('load_from') if resume == 'auto' else resume
    runner = RUNNERS.build(cfg)
    if get_device() == 'cpu' and (threads := torch.get_num_threads()) > (free := free_cores()):
        runner.logger.warning(
            f'{threads} threads share {free} free cores: threads that wait for other processes slow a training up to '
            f'tenfold. OMP_NUM_THREADS={free} before the command trains with {free}'
        )
    runner.train()
    return runner
