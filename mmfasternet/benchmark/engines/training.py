"""What a training step costs: memory held for the backward pass, and time, beside timm's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from mmfasternet.benchmark.measure.gpu import is_gpu, one_size, peak_mib
from mmfasternet.benchmark.measure.latency import MEMORY_FORMATS
from mmfasternet.benchmark.measure.memory import live_bytes
from mmfasternet.benchmark.measure.precision import in_precision
from mmfasternet.benchmark.measure.turns import Clock, Contender, one_message, time_in_turns, use_threads
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


def measure_training(
    arch: str,
    shape: tuple[int, int],
    batch: int,
    threads: int,
    rounds: int,
    device: str = 'cpu',
    precision: str = 'fp32',
    memory_format: str = 'contiguous',
) -> list[dict]:
    """Memory and time of a training step of timm's backbone and of ours, with and without recomputation.

    Args:
        arch: The variant.
        shape: Height and width of the images in pixels.
        batch: Number of images.
        threads: Threads of torch on the CPU.
        rounds: Turns of each.
        device: 'cpu' or a GPU such as 'cuda:0'. Defaults to 'cpu'.
        precision: One of ``PRECISIONS``, half precision by autocast. Defaults to 'fp32'.
        memory_format: Of images and weights, one of ``MEMORY_FORMATS``. Defaults to 'contiguous'.

    Returns:
        A record of each, of kind ``training``.

    Raises:
        LackingError: If the device lacks the precision.
        UserError: If timm is missing, or the models don't fit into the device's memory.
    """
    layout = MEMORY_FORMATS[memory_format]
    models = {name: build(arch).to(device).to(memory_format=layout).train() for name, build in TRAINED.items()}
    image = torch.rand(batch, 3, *shape, device=device).contiguous(memory_format=layout)
    context = partial(_training, precision, device)
    contenders = {name: Contender(name, partial(_step, model, image), batch, context) for name, model in models.items()}
    held = {}
    with use_threads(threads), context():
        for name, model in models.items():
            if is_gpu(device):
                with one_message(name, device):
                    # cuDNN tries its algorithms in the first step, which takes more memory.
                    contenders[name].run()
                    held[name] = peak_mib(contenders[name].run, device)
            else:
                held[name] = round(live_bytes(model, image) / 2**20, 1)
    found = time_in_turns(contenders, Clock(device, least_runs=1), rounds, threads)
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
            device=device,
            precision=precision,
            memory_format=memory_format,
            held_mib=held[name],
            median_ms=figures['median_ms'],
            quartiles_ms=figures['quartiles_ms'],
            times_ms=[value for turn in figures['rounds'] for value in turn['times_ms']],
            flags=figures['flags'],
        )
        for name, figures in found.items()
    ]


@contextmanager
def _training(precision: str, device: str) -> Iterator[None]:
    with one_size(), in_precision(precision, device):
        yield


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
    sum(out.float().square().mean() for out in model(image)).backward()
