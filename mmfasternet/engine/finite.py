"""A training ends as soon as its loss or its weights are not finite, with the last good checkpoint kept."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from mmfasternet.errors import UserError

from .checkpoints import latest_checkpoint

__all__ = ['FiniteLossHook', 'check_finite_weights']

_AT_ONCE = 10  # iterations whose losses are looked at together on a GPU, which has to be waited for


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Ends a training whose loss is not finite, in the iteration or, on a GPU, at most nine later.

    Raises:
        UserError: If it is not; the message names the iteration and the last good checkpoint.

    Example:
        >>> from types import SimpleNamespace
        >>> runner = SimpleNamespace(iter=6, work_dir='never_run')
        >>> FiniteLossHook().after_train_iter(runner, 6, outputs=dict(loss=torch.tensor(float('nan'))))
        Traceback (most recent call last):
        mmfasternet.errors.UserError: the loss is nan in iteration 7: ...
    """

    # Before the moving average of the weights takes them up, and before any checkpoint.
    priority = 'ABOVE_NORMAL'

    def __init__(self) -> None:
        self._losses: list[tuple[int, Tensor]] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if not isinstance(outputs, dict) or not isinstance(loss := outputs.get('loss'), Tensor):
            return
        self._losses.append((runner.iter + 1, loss.detach().float().mean()))
        if loss.device.type == 'cpu' or len(self._losses) == _AT_ONCE:
            self.confirm(runner)

    def confirm(self, runner: Runner) -> None:
        """Look at the losses that have not been looked at.

        Args:
            runner: The runner.

        Raises:
            UserError: If one of them is not finite.
        """
        losses, self._losses = self._losses, []
        if not losses:
            return
        values = torch.stack([loss for _, loss in losses]).cpu()
        for (iteration, _), value in zip(losses, values.tolist(), strict=True):
            if not torch.isfinite(torch.tensor(value)):
                raise UserError(_advice(f'the loss is {value} in iteration {iteration}', runner))


def check_finite_weights(model: nn.Module, runner: Runner) -> None:
    """Make sure that a model is worth saving.

    Args:
        model: The model.
        runner: Its runner.

    Raises:
        UserError: If a weight is not finite; the message names the last good checkpoint.
    """
    flags = {name: torch.isfinite(weight).all() for name, weight in model.named_parameters()}
    if flags and not torch.stack(list(flags.values())).all():
        name = next(name for name, flag in flags.items() if not flag)
        raise UserError(_advice(f'{name} is not finite after iteration {runner.iter}, and is not saved', runner))


def _advice(what: str, runner: Runner) -> str:
    """What to do about it."""
    good = latest_checkpoint(runner.work_dir)
    return (
        f'{what}: the training has diverged. Lower optim_wrapper.optimizer.lr, lengthen the warm-up, or clip gradients '
        '(optim_wrapper.clip_grad=dict(max_norm=1)), and look for annotations that are out of range. '
        + (f'The last good checkpoint is {good}' if good else 'There is no checkpoint of it yet')
    )
