"""A hook that sends its own process a signal: a kill, as by a full machine, or a scheduler's request to stop."""

import os
import signal

from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class KillHook(Hook):
    """Send a signal behind iteration ``at_iter``, in the validation of epoch ``at_val``, or in the save of ``at_save``.

    Args:
        at_iter: Number of the iteration.
        at_val: Number of the epoch.
        at_save: Number of the epoch, whose checkpoint is written by half.
        name: Name of the signal. Defaults to 'SIGKILL'.
        group: Whether all processes of the group get it, data workers included. Defaults to False.
        rank: The process that gets it, of several. Defaults to 0.
    """

    priority = 'LOWEST'

    def __init__(
        self,
        at_iter: int | None = None,
        at_val: int | None = None,
        at_save: int | None = None,
        name: str = 'SIGKILL',
        group: bool = False,
        rank: int = 0,
    ) -> None:
        self.at_iter = at_iter
        self.at_val = at_val
        self.at_save = at_save
        self.signal = getattr(signal, name)
        self.group = group
        self.rank = rank

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.at_iter and runner.rank == self.rank:
            self._send()

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.epoch == self.at_val and runner.rank == self.rank:
            self._send()

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        if checkpoint['meta']['epoch'] == self.at_save:

            def write_half(backend, data, path):
                with open(path, 'wb') as file:
                    file.write(data[: len(data) // 2])
                self._send()

            LocalBackend.put = write_half

    def _send(self) -> None:
        if self.group:
            os.killpg(0, self.signal)
        else:
            os.kill(os.getpid(), self.signal)
