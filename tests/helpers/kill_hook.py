"""A hook that kills its own process, as a full machine or a slurm time limit would."""

import os
import signal

from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class KillHook(Hook):
    """Kill in the midst of an epoch (behind iteration ``at_iter``), or of the save of epoch ``at_save``."""

    def __init__(self, at_iter: int | None = None, at_save: int | None = None) -> None:
        self.at_iter = at_iter
        self.at_save = at_save

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.at_iter:
            _kill()

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        if checkpoint['meta']['epoch'] == self.at_save:

            def write_half(backend, data, path):
                with open(path, 'wb') as file:
                    file.write(data[: len(data) // 2])
                _kill()

            LocalBackend.put = write_half
