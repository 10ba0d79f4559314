"""Where the time of an optimized FasterNet goes: its convolutions by kind, GELU, copies, and the calls themselves."""

import time
from collections import Counter

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mmfasternet.benchmark.measure.precision import LackingError
from mmfasternet.benchmark.measure.turns import use_threads
from mmfasternet.deploy import optimize_for_inference
from mmfasternet.models import FasterNet

__all__ = ['profile_parts']

_POINTWISE = '1×1 convolutions'
# Part of a FasterNet whose convolutions have another name here → that name.
_NAMES = {'PConv': '3×3 convolutions of PConv', '1×1': _POINTWISE}


def profile_parts(arch: str, shape: tuple[int, int], threads: int, runs: int = 10) -> dict:
    """Share of each kind of operator in the time of an optimized backbone on the CPU.

    The activation is computed within the 1×1 convolutions, so GELU's part is what they take longer than with ReLU.

    Raises:
        LackingError: If torch has no oneDNN here, whose operators are told apart.
    """
    if not torch.backends.mkldnn.is_available():
        raise LackingError('torch has no oneDNN here')
    image = torch.rand(1, 3, *shape)
    with use_threads(threads):
        model = FasterNet(arch).eval()
        times, total = _operator_times(model, image, runs)
        if any(isinstance(module, nn.GELU) for module in model.modules()):
            plain, _ = _operator_times(FasterNet(arch, act_cfg=dict(type='ReLU')).eval(), image, runs)
            times['GELU'] = max(0.0, times[_POINTWISE] - plain[_POINTWISE])
            times[_POINTWISE] -= times['GELU']
    times['between the operators'] = max(0.0, total - sum(times.values()))
    total = sum(times.values())
    return dict(
        kind='profile',
        row=f'fasternet_{arch}',
        label=f'FasterNet-{arch.upper()}, optimized',
        arch=arch,
        shape=list(shape),
        threads=threads,
        parts={name: round(value / total, 4) for name, value in times.most_common()},
    )


@torch.inference_mode()
def _operator_times(backbone: FasterNet, image: torch.Tensor, runs: int) -> tuple[Counter, float]:
    """Seconds of each kind of operator of the optimized backbone, under the profiler, and of all runs without it."""
    model = optimize_for_inference(backbone)
    # By the shape of the weights, which is what the profiler shows of a convolution.
    kinds = {
        tuple(convolution.weight.shape): _NAMES.get(part, part)
        for part, convolutions in backbone.convolutions.items()
        for convolution in convolutions
    }
    for _ in range(3):
        model(image)
    start = time.perf_counter()
    for _ in range(runs):
        model(image)
    total = time.perf_counter() - start
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        for _ in range(runs):
            model(image)
    times: Counter = Counter()
    for event in profiler.key_averages(group_by_input_shape=True):
        seconds = event.self_cpu_time_total / 1e6
        if event.key.startswith('mkldnn::_convolution'):
            # Image and weights are the first two inputs, or the second and third where there is one to add to.
            weight = event.input_shapes[2 if event.key.endswith('_') else 1]
            times[kinds[tuple(weight)]] += seconds
        elif event.key in ('aten::native_batch_norm', 'aten::native_batch_norm.out'):
            times['output norms'] += seconds
        elif event.key.startswith('aten::'):
            times['copies and sums of PConv'] += seconds
    return times, total
