"""How many epochs of a training fit into a time, by a few of its iterations on this machine."""

import json
import math
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.config import ConfigDict

from mmfasternet.cores import free_cores
from mmfasternet.datasets.annotations import read_annotations
from mmfasternet.datasets.recipe import VALIDATIONS
from mmfasternet.errors import UserError

from .config import load_config
from .launch import Launcher
from .released import fetch_weights
from .steps import Step, Steps, duration

__all__ = ['FEWEST', 'Speed', 'count_batches', 'count_images', 'measure_speed', 'threads']

#: Iterations below which a model that starts from random weights has learned nothing.
FEWEST = 300

_SAFE = 0.85  # of a budget is planned: nothing is exactly as it was measured
_STEPS = 4  # train, test, explain and export: each starts a process
_MEASURED = 15  # iterations, of which the first ones are slower
_WARM = 5


@dataclass(frozen=True)
class Speed:
    """What a training takes on this machine.

    Args:
        iteration: Seconds of an iteration.
        validation: Seconds of a validation.
        start: Seconds until the first iteration.
        epoch_length: Iterations of an epoch.
        max_epochs: Epochs that the config asks for.
    """

    iteration: float
    validation: float
    start: float
    epoch_length: int
    max_epochs: int

    def __str__(self) -> str:
        return (
            f'an iteration takes {self.iteration:.2f} s here, an epoch {duration(self.iteration * self.epoch_length)}'
        )

    def iterations_within(self, budget: float) -> int:
        """How many iterations fit into a budget for everything, in seconds."""
        return max(0, int((_SAFE * budget - self._other()) / self.iteration))

    def epochs_within(self, budget: float) -> int:
        """How many epochs fit, at most as many as the config asks for.

        Args:
            budget: Seconds for everything.

        Returns:
            Epochs.

        Raises:
            UserError: If a training that short finds nothing; the message says how long it must be.

        Example:
            >>> Speed(iteration=0.5, validation=5, start=10, epoch_length=50, max_epochs=40).epochs_within(800)
            23
        """
        found = self.iterations_within(budget)
        fewest = min(self.max_epochs, math.ceil(FEWEST / self.epoch_length))
        if found < fewest * self.epoch_length:
            needed = (fewest * self.epoch_length * self.iteration + self._other()) / _SAFE
            raise UserError(
                f'an iteration takes {self.iteration:.1f} s on this machine: {duration(budget)} have time for {found} '
                f'of them, and a training of less than {FEWEST} finds nothing. Set --budget '
                f'{math.ceil(needed / 60)}m, take a smaller --arch, or end other processes'
            )
        return min(self.max_epochs, found // self.epoch_length)

    def _other(self) -> float:
        """Seconds of all that is no training; the last validation is done again, by the test."""
        return _STEPS * self.start + (VALIDATIONS + 1) * self.validation


def measure_speed(write: Callable[[Path], object], out: str | Path) -> Speed:
    """Train a few iterations of a config, and validate on a few images.

    Args:
        write: Writes the config to a path.
        out: Folder of the log ``own_data.log`` and, for the time that it takes, of what is written.

    Returns:
        The speed.

    Raises:
        UserError: If the training fails, or the weights that it starts from can't be fetched.
    """
    with TemporaryDirectory(dir=out, prefix='.measure_') as folder:
        config = Path(folder, 'config.py')
        write(config)
        cfg = load_config(config)
        fetch_weights(cfg)
        epoch_length = count_batches(cfg.train_dataloader)
        options = {
            **_length(cfg.train_cfg, min(_MEASURED, epoch_length)),
            'train_dataloader.dataset.indices': _MEASURED * cfg.train_dataloader.batch_size,
            'val_dataloader.dataset.indices': _MEASURED,
            'default_hooks.logger.interval': 1,
            'log_processor.window_size': 1,
            'default_hooks.checkpoint.interval': 1_000_000,
            'default_hooks.checkpoint.save_last': False,
            'default_hooks.checkpoint.save_best': None,
        }
        steps = Steps([Step('measure', _MEASURED, 10, 0.25)], 'measure', Path(out, 'own_data.log'))
        with steps, steps.step('measure'):
            words = ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]
            steps.run(Launcher().train(config, folder, words), threads())
        scalars = max(Path(folder).glob('*/vis_data/scalars.json'))
        times = [line['time'] for line in map(json.loads, scalars.read_text().splitlines()) if 'time' in line]
    *iterations, of_batch = times
    images = count_images(cfg.val_dataloader, with_objects=False)
    validation = of_batch * images / cfg.val_dataloader.batch_size
    trained = sum(iterations) + of_batch * -(-min(_MEASURED, images) // cfg.val_dataloader.batch_size)
    return Speed(
        iteration=statistics.median(iterations[_WARM:]),
        validation=validation,
        start=max(0.0, steps.seconds['measure'] - trained),
        epoch_length=epoch_length,
        max_epochs=cfg.train_cfg.get('max_epochs') or cfg.train_cfg.max_iters // epoch_length,
    )


def _length(train_cfg: ConfigDict, epoch_length: int) -> dict[str, int]:
    """Options that end a training after the iterations to measure, which may be several epochs of few images."""
    if 'max_iters' in train_cfg:
        return {'train_cfg.max_iters': _MEASURED, 'train_cfg.val_interval': _MEASURED}
    epochs = -(-_MEASURED // epoch_length)
    return {'train_cfg.max_epochs': epochs, 'train_cfg.val_interval': epochs}


def count_images(loader: ConfigDict, with_objects: bool = True) -> int:
    """How many images a data loader has.

    Args:
        loader: Config of the data loader, whose data set has ``data_root`` and ``ann_file``.
        with_objects: Count those with objects alone, on which a detector is trained. Defaults to True.

    Returns:
        The number.

    Example:
        >>> from mmfasternet.datasets import make_shapes
        >>> root = make_shapes('shapes', num_train=4, num_val=2)
        >>> count_images(ConfigDict(dataset=dict(data_root=root, ann_file='annotations/instances_val.json')))
        2
    """
    path = Path(loader.dataset.data_root, loader.dataset.ann_file)
    if path.suffix != '.json':
        return len(path.read_text(encoding='utf-8').splitlines())
    content = read_annotations(path)
    if not with_objects:
        return len(content['images'])
    return len({annotation['image_id'] for annotation in content['annotations'] if not annotation.get('iscrowd')})


def count_batches(loader: ConfigDict, with_objects: bool = True) -> int:
    """How many batches a data loader has on one device.

    Args:
        loader: As for :func:`count_images`, with ``batch_size``.
        with_objects: As there. Defaults to True.

    Returns:
        The number.
    """
    return math.ceil(count_images(loader, with_objects) / loader.batch_size)


@cache
def threads() -> dict[str, str]:
    """As many threads as cores are free, unless the user has said how many, as an environment variable."""
    return {'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS') or str(free_cores())}
