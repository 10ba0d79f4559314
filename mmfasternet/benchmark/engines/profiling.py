"""Where the time of the inference form goes: its convolutions by kind, GELU, copies, and the calls themselves."""

import time
from collections import Counter

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mmfasternet.benchmark.measure.latency import use_threads
from mmfasternet.benchmark.records.records import provenance
from mmfasternet.deploy import optimize_for_inference
from mmfasternet.deploy.backbone import InferenceFasterNet
from mmfasternet.models import FasterNet

__all__ = ['profile_parts']

KERNELS = {1: '1×1 convolutions', 3: '3×3 convolutions of PConv', 2: 'merging', 4: 'embedding'}


def profile_parts(arch: str, shape: tuple[int, int], threads: int, runs: int = 10) -> dict:
    """Share of each kind of operator in the time of a deployed backbone on the CPU.

    The activation is computed within the 1×1 convolutions, so GELU's part is what they take longer than with ReLU.

    Args:
        arch: A variant.
        shape: Height and width of the image in pixels.
        threads: Threads of torch.
        runs: Runs to sum over. Defaults to 10.

    Returns:
        A record, see docs/records.md; its ``parts`` sum to 1.

    Example:
        >>> parts = profile_parts('t0', (64, 64), threads=1)['parts']
        >>> round(sum(parts.values()), 2)
        1.0
    """
    image = torch.rand(1, 3, *shape)
    with use_threads(threads):
        model = FasterNet(arch).eval()
        times, total = operator_times(optimize_for_inference(model), image, runs)
        if any(isinstance(module, nn.GELU) for module in model.modules()):
            plain, _ = operator_times(
                optimize_for_inference(FasterNet(arch, act_cfg=dict(type='ReLU')).eval()), image, runs
            )
            pointwise = KERNELS[1]
            times['GELU'] = max(0.0, times[pointwise] - plain[pointwise])
            times[pointwise] -= times['GELU']
    times['between the operators'] = max(0.0, total - sum(times.values()))
    whole = sum(times.values())
    return dict(
        kind='profile',
        row=f'fasternet_{arch}',
        label=f'FasterNet-{arch.upper()}, deployed',
        arch=arch,
        shape=list(shape),
        threads=threads,
        parts={name: round(value / whole, 4) for name, value in times.most_common()},
        **provenance(),
    )


@torch.inference_mode()
def operator_times(model: InferenceFasterNet, image: torch.Tensor, runs: int) -> tuple[Counter, float]:
    """Seconds of each kind of operator, under the profiler, and of all runs without it."""
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
            times[KERNELS[weight[2]]] += seconds
        elif event.key in ('aten::native_batch_norm', 'aten::native_batch_norm.out'):
            times['output norms'] += seconds
        elif event.key.startswith('aten::'):
            times['copies and sums of PConv'] += seconds
    return times, total
