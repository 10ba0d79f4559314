"""What a training step costs: memory held for the backward pass, and time, beside timm's."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from mmfasternet.benchmark.measure.latency import use_threads
from mmfasternet.benchmark.records.records import provenance
from mmfasternet.errors import UserError
from mmfasternet.models import FasterNet

__all__ = ['live_bytes', 'measure_training', 'timm_backbone']


class Storages(TorchDispatchMode):
    """Keeps book of the memory of every tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_flatten(out)[0]:
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                self.made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        return out

    def live_bytes(self) -> int:
        return sum(size for reference, size in self.made.values() if not reference.expired())


def live_bytes(model: nn.Module, image: Tensor) -> int:
    """Bytes that are held between the forward and the backward pass, outputs included, parameters not.

    Args:
        model: A backbone in training mode.
        image: Of shape (N, 3, H, W).

    Returns:
        The sum of the sizes of what the forward pass made and did not let go.

    Example:
        >>> live_bytes(nn.Sequential(nn.ReLU()), torch.rand(1, 3, 8, 8)) == 4 * 3 * 8 * 8
        True
    """
    with Storages() as storages:
        outs = model(image)
        held = storages.live_bytes()
    del outs
    return held


def measure_training(arch: str, shape: tuple[int, int], batch: int, threads: int, rounds: int) -> list[dict]:
    """Memory and time of a training step of timm's backbone and of ours, with and without recomputation.

    Args:
        arch: A variant.
        shape: Height and width of the images in pixels.
        batch: Number of images.
        threads: Threads of torch.
        rounds: Steps of each model, which take turns, after two to warm up.

    Returns:
        A record for each model, see docs/records.md.

    Example:
        >>> [record['label'] for record in measure_training('t0', (64, 64), 2, threads=1, rounds=1)][1]
        'FasterNet-T0, as it is'
    """
    models = {
        'timm': timm_backbone(arch),
        'as it is': FasterNet(arch, drop_path_rate=0),
        "with_cp='elementwise'": FasterNet(arch, drop_path_rate=0, with_cp='elementwise'),
        'with_cp=True': FasterNet(arch, drop_path_rate=0, with_cp=True),
    }
    image = torch.rand(batch, 3, *shape)
    times: dict[str, list[float]] = {name: [] for name in models}
    with use_threads(threads):
        held = {name: live_bytes(model.train(), image) for name, model in models.items()}
        for number in track(range(-2, rounds), f'training steps of FasterNet-{arch.upper()}', transient=True):
            for name, model in models.items():
                milliseconds = step(model, image)
                if number >= 0:
                    times[name].append(milliseconds)
    return [
        dict(
            kind='training',
            row=f'{"timm_" if name == "timm" else ""}fasternet_{arch}',
            label=f'FasterNet-{arch.upper()}, {name}',
            arch=arch,
            contender=name,
            shape=list(shape),
            batch=batch,
            threads=threads,
            held_mib=round(held[name] / 2**20, 1),
            median_ms=round(float(np.median(times[name])), 1),
            quartiles_ms=[round(float(value), 1) for value in np.percentile(times[name], (25, 75))],
            times_ms=[round(value, 1) for value in times[name]],
            **provenance(),
        )
        for name in models
    ]


def timm_backbone(arch: str) -> nn.Module:
    """timm's variant, with its maps, and without drop path, as the ones beside it."""
    try:
        import timm
    except ImportError as error:
        raise UserError(f'the benchmark needs timm ({error}): pip install mmfasternet[compare]') from error
    return timm.create_model(f'fasternet_{arch}', features_only=True, drop_path_rate=0.0)


def step(model: nn.Module, image: Tensor) -> float:
    """Milliseconds of a forward and a backward pass."""
    model.zero_grad()
    start = time.perf_counter()
    sum(out.square().mean() for out in model(image)).backward()
    return (time.perf_counter() - start) * 1000
