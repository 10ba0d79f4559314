"""Randomness that depends on nothing but its place: every draw of an image and every iteration has a seed of its own.

A training that is resumed anywhere then draws what it would have drawn without a stop, however many processes load the
data, and no random state has to be saved.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler, DataLoader, Sampler

__all__ = ['NumberedBatches', 'number_draws', 'seed_draws', 'seed_iteration']


class _Draw(int):
    """The index of an image, with the seed of what is random about it."""

    seed: int

    def __new__(cls, index: int, seed: int) -> '_Draw':
        draw = super().__new__(cls, index)
        draw.seed = seed
        return draw

    def __getnewargs__(self) -> tuple[int, int]:  # for workers that are started by spawn
        return int(self), self.seed


class NumberedBatches(Sampler):
    """A batch sampler whose indices carry seeds, and which can start anywhere in an epoch.

    A seed depends on the sampler's seed, the epoch, and the place of the draw in it, counted over all processes. With
    mmengine's samplers, the same images with the same seeds are drawn by any number of processes.

    Args:
        sampler: The sampler of indices.
        batch_size: Images per batch and process.
        seed: What the seeds depend on.
        batch_sampler: Config of the batch sampler that groups the indices. None groups them in their order. Defaults
            to None.
        drop_last: Whether an incomplete last batch is left out. A ``batch_sampler`` says it in its own config. Defaults
            to False.

    Example:
        >>> batches = NumberedBatches([5, 3, 8], batch_size=2, seed=0)
        >>> list(batches)
        [[5, 3], [8]]
        >>> batches.start = 1
        >>> list(batches), list(batches)
        ([[8]], [[5, 3], [8]])
    """

    def __init__(
        self, sampler: Sampler, batch_size: int, seed: int, batch_sampler: dict | None = None, drop_last: bool = False
    ) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.seed = seed
        #: Number of batches that are left out next.
        self.start = 0
        self._batch_sampler = batch_sampler
        self._length = len(self._grouped())

    def __iter__(self) -> Iterator[list[int]]:
        start, self.start = self.start, 0
        if isinstance(self.sampler, InfiniteSampler):
            # It would begin where an earlier iterator has stopped.
            self.sampler.indices = self.sampler._indices_of_rank()
        rank, processes = get_dist_info()
        epoch, position, number = getattr(self.sampler, 'epoch', 0), 0, 0
        for number, batch in enumerate(self._grouped(), 1):
            if number > start:
                places = range(position * processes + rank, (position + len(batch)) * processes, processes)
                yield [_Draw(i, _derive(self.seed, epoch, place)) for i, place in zip(batch, places, strict=True)]
            position += len(batch)
        # More than an epoch may be left out.
        self.start = max(0, start - number)

    def _grouped(self) -> Sampler:
        """The batches of indices, by a new sampler: mmdet's keeps what an iterator that was not used up has left."""
        if self._batch_sampler is None:
            return BatchSampler(self.sampler, self.batch_size, self.drop_last)
        return DATA_SAMPLERS.build(
            self._batch_sampler, default_args=dict(sampler=self.sampler, batch_size=self.batch_size)
        )

    def __len__(self) -> int:
        return self._length


def number_draws(dataloader: dict, seed: int) -> dict:
    """Give the config of a data loader numbered batches.

    Args:
        dataloader: The config, with a ``sampler``.
        seed: What the seeds of the draws depend on.

    Returns:
        A changed copy. Anything but such a config is returned as it is.

    Example:
        >>> config = dict(sampler=dict(type='DefaultSampler'), batch_size=2, drop_last=True)
        >>> number_draws(config, seed=1)['batch_sampler']
        {'type': ...NumberedBatches'>, 'seed': 1, 'batch_sampler': None, 'drop_last': True}
    """
    if not isinstance(dataloader, dict) or not isinstance(dataloader.get('sampler'), dict):
        return dataloader
    numbered = dict(dataloader)
    inner = numbered.get('batch_sampler')
    # torch refuses drop_last beside a batch sampler.
    options = {} if inner else dict(drop_last=numbered.pop('drop_last', False))
    numbered['batch_sampler'] = dict(type=NumberedBatches, seed=seed, batch_sampler=inner, **options)
    return numbered


def seed_draws(dataloader: DataLoader) -> None:
    """Make a data loader of numbered batches load every image with the seed of its draw.

    Args:
        dataloader: The data loader; with other batches it is left as it is.
    """
    if isinstance(dataloader.batch_sampler, NumberedBatches) and not hasattr(dataloader.dataset, '__getitems__'):
        # This is where torch's data loader asks for a batch.
        dataloader.dataset.__getitems__ = partial(_load, dataloader.dataset)
        # Torch forgets it beside a batch sampler, and hooks of mmpretrain read it.
        object.__setattr__(dataloader, 'batch_size', dataloader.batch_sampler.batch_size)


def seed_iteration(seed: int, iteration: int) -> None:
    """Seed all that is random in the model's part of an iteration: Python, numpy, and torch on every device.

    Args:
        seed: The run's seed.
        iteration: Its number.

    Example:
        >>> seed_iteration(0, iteration=7)
        >>> first = torch.rand(1)
        >>> seed_iteration(0, iteration=7)
        >>> torch.equal(torch.rand(1), first)
        True
    """
    derived = _derive(seed, iteration)
    # Alike in all processes, since models may decide by them what all of them compute.
    random.seed(derived)
    np.random.seed(derived)
    # Not alike, so that their images are not dropped at the same places.
    torch.manual_seed(_derive(seed, iteration, get_dist_info()[0]))


def _derive(*numbers: int) -> int:
    """A seed of 32 bits from several numbers; seeds of neighbours have nothing in common."""
    return int(np.random.SeedSequence([abs(number) for number in numbers]).generate_state(1)[0])


def _load(dataset: Any, draws: list[_Draw] | list[int]) -> list:
    """What torch's data loader calls for a batch; another data loader of the same data set has no seeds."""
    samples = []
    for draw in draws:
        with _randomness(draw.seed) if isinstance(draw, _Draw) else nullcontext():
            samples.append(dataset[int(draw)])
    return samples


@contextmanager
def _randomness(seed: int) -> Iterator[None]:
    """Seed what runs on the CPU for a block, which in a run without workers leaves the model's randomness as it is."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    # torch.manual_seed would seed GPUs too.
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
