"""A hook that writes down the loss of every iteration, and may wait where a test wants to interfere."""

import json
import time
from pathlib import Path

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class LossHook(Hook):
    """Append the mean loss of all processes to a file, one JSON line per iteration.

    Args:
        path: The file.
        pause: Seconds to wait after each iteration, so that a test has the time to interfere. Defaults to 0.
    """

    def __init__(self, path: str, pause: float = 0) -> None:
        self.path = Path(path)
        self.pause = pause

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        loss = torch.tensor(float(outputs['loss']), dtype=torch.float64)
        all_reduce(loss, 'mean')
        if get_rank() == 0:
            with self.path.open('a') as file:
                file.write(json.dumps([runner.iter, loss.item()]) + '\n')
        time.sleep(self.pause)
