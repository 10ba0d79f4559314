"""What a training step costs: memory held for the backward pass, and time, beside timm's."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from mmfasternet.benchmark.measure.memory import live_bytes
from mmfasternet.benchmark.measure.turns import Clock, Contender, time_in_turns, use_threads
from mmfasternet.errors import UserError
from mmfasternet.models import FasterNet

__all__ = ['TRAINED', 'measure_training', 'timm_backbone']

# Contender → its backbone, without drop path.
TRAINED: dict[str, Callable[[str], nn.Module]] = {
    'timm': lambda arch: timm_backbone(arch),
    'as it is': partial(FasterNet, drop_path_rate=0),
    "with_cp='elementwise'": partial(FasterNet, drop_path_rate=0, with_cp='elementwise'),
    'with_cp=True': partial(FasterNet, drop_path_rate=0, with_cp=True),
}


def measure_training(arch: str, shape: tuple[int, int], batch: int, threads: int, rounds: int) -> list[dict]:
    """Memory and time of a training step of timm's backbone and of ours, with and without recomputation."""
    models = {name: build(arch) for name, build in TRAINED.items()}
    image = torch.rand(batch, 3, *shape)
    with use_threads(threads):
        held = {name: live_bytes(model.train(), image) for name, model in models.items()}
    contenders = {
        name: Contender(name, partial(_step, model, image), batch, nullcontext) for name, model in models.items()
    }
    found = time_in_turns(contenders, Clock(least_runs=1), rounds, threads)
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
            median_ms=figures['median_ms'],
            quartiles_ms=figures['quartiles_ms'],
            times_ms=[value for turn in figures['rounds'] for value in turn['times_ms']],
        )
        for name, figures in found.items()
    ]


def timm_backbone(arch: str) -> nn.Module:
    """timm's FasterNet with its feature maps and without drop path, as those beside it."""
    try:
        import timm
    except ImportError as error:
        raise UserError(f'the benchmark needs timm ({error}): pip install mmfasternet[compare]') from error
    return timm.create_model(f'fasternet_{arch}', features_only=True, drop_path_rate=0.0)


def _step(model: nn.Module, image: Tensor) -> None:
    """A forward and a backward pass."""
    model.zero_grad()
    sum(out.square().mean() for out in model(image)).backward()
