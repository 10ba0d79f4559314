"""FasterNet in every engine, beside timm's: the same weights, interleaved in one run, and beside the machine's peak."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mmfasternet.benchmark.measure.backends import Forward, backend_forward, exported
from mmfasternet.benchmark.measure.complexity import count_operators
from mmfasternet.benchmark.measure.latency import (
    Protocol,
    open_document,
    progress_bar,
    summarize,
    time_runs,
    use_threads,
)
from mmfasternet.benchmark.measure.paths import largest_difference, randomize_norms
from mmfasternet.deploy import optimize_for_inference
from mmfasternet.deploy.packed import PackedConv
from mmfasternet.files import write_json
from mmfasternet.models import FasterNet
from mmfasternet.weights.state_dict import fasternet_state_dict

from .profiling import profile_parts
from .training import measure_training, timm_backbone

__all__ = ['CONTENDERS', 'Contender', 'Plan', 'measure_all', 'measure_engines']

# The share of a cell's time that one turn of a contender should take, in seconds, and the most runs in it.
TURN, MOST_RUNS = 1.0, 20
PEAK_SIZE = 2048


@dataclass(frozen=True)
class Contender:
    """One way to run a backbone.

    Args:
        label: What tables and plots call it.
        network: 'timm', 'reference' or 'optimized'.
        backend: What runs it.
        precision: 'fp32', 'bf16' or 'int8'. Defaults to 'fp32'.
    """

    label: str
    network: str
    backend: str
    precision: str = 'fp32'

    @property
    def path(self) -> str:
        """What its records call the path."""
        return 'optimized' if self.network == 'optimized' else 'reference'


CONTENDERS = (
    Contender('timm', 'timm', 'eager'),
    Contender('reference', 'reference', 'eager'),
    Contender('deployed', 'optimized', 'eager'),
    Contender('torch.compile', 'reference', 'compile'),
    Contender('ONNX Runtime', 'reference', 'onnxruntime'),
    Contender('OpenVINO', 'reference', 'openvino'),
    Contender('OpenVINO bf16', 'reference', 'openvino', 'bf16'),
    Contender('ONNX Runtime int8', 'reference', 'onnxruntime', 'int8'),
    Contender('OpenVINO int8', 'reference', 'openvino', 'int8'),
)


@dataclass(frozen=True)
class Plan:
    """The cells of the benchmark, and how often each contender has its turn in a cell.

    Args:
        archs: Variants.
        shapes: Heights and widths of the picture in pixels.
        threads: Numbers of threads.
        rounds: Turns of each contender in a cell.
        profiles: Variants and shapes to profile, with one thread.
        training: Variant, shape and batch of the training step.
    """

    archs: tuple[str, ...] = ('t0', 's', 'l')
    shapes: tuple[tuple[int, int], ...] = ((224, 224), (800, 1280))
    threads: tuple[int, ...] = (1, 2)
    rounds: int = 3
    profiles: tuple[tuple[str, tuple[int, int]], ...] = (('t0', (224, 224)), ('s', (800, 1280)))
    training: tuple[str, tuple[int, int], int] = ('s', (320, 320), 2)

    def cells(self) -> list[tuple[str, tuple[int, int], int]]:
        return [(arch, shape, threads) for arch in self.archs for shape in self.shapes for threads in self.threads]


def measure_all(plan: Plan, out: str | Path) -> dict:
    """Measure the engines, then profile the deployed form and a training step, unless the file has them already.

    Args:
        plan: What to measure.
        out: File of records, see docs/records.md.

    Returns:
        The document.

    Raises:
        UserError: If a package is missing, or a contender computes something else.
    """
    document = measure_engines(plan, out)
    if not any(record['kind'] == 'profile' for record in document['records']):
        document['records'] += [profile_parts(arch, shape, threads=1) for arch, shape in plan.profiles]
        write_json(out, document)
    if not any(record['kind'] == 'training' for record in document['records']):
        document['records'] += measure_training(*plan.training, threads=max(plan.threads), rounds=4 * plan.rounds)
        write_json(out, document)
    return document


def measure_engines(plan: Plan, out: str | Path) -> dict:
    """Measure every contender in every cell, and save after each cell.

    Cells that the file has already are kept. Within a cell all models are in memory and take turns.

    Args:
        plan: What to measure.
        out: File of records, see docs/records.md.

    Returns:
        The document.

    Raises:
        UserError: If a package is missing, or a contender computes something else.

    Example:
        >>> document = measure_engines(Plan(('t0',), ((64, 64),), (1,), rounds=1), 'engines.json')
        >>> len(document['records']) == len(CONTENDERS)
        True
    """
    document = open_document(out, Protocol(threads=max(plan.threads)))
    missing = [cell for cell in plan.cells() if not any(in_cell(record, cell) for record in document['records'])]
    with progress_bar() as progress:
        task = progress.add_task('', total=len(missing))
        for arch, (height, width), threads in missing:
            progress.update(task, description=f'{arch.upper()}, {height} × {width}, threads: {threads}')
            with use_threads(threads):
                document['records'] += measure_cell(arch, (height, width), threads, plan.rounds)
            write_json(out, document)
            progress.advance(task)
    return document


def in_cell(record: dict, cell: tuple[str, tuple[int, int], int]) -> bool:
    return record['kind'] == 'latency' and (record['arch'], tuple(record['shape']), record['threads']) == cell


def measure_cell(arch: str, shape: tuple[int, int], threads: int, rounds: int) -> list[dict]:
    """Latencies of all contenders, interleaved, with the peak of matrix products measured between them."""
    image = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    models = build_models(arch)
    forwards = {contender: set_up(contender, models, image, threads) for contender in CONTENDERS}
    start = time.perf_counter()
    with torch.inference_mode():
        models['reference'](image)
    runs = min(MOST_RUNS, max(1, round(TURN / (time.perf_counter() - start))))
    protocols = {
        contender: Protocol(
            threads=threads,
            shape=shape,
            scopes=('backbone',),
            path=contender.path,
            backend=contender.backend,
            rounds=rounds,
            # A run of a second and more needs no other before it.
            warmup=int(runs > 1),
            runs=runs,
        )
        for contender in CONTENDERS
    }
    turns: dict[Contender, list[dict]] = {contender: [] for contender in CONTENDERS}
    peaks = []
    for number in range(rounds):
        first = number % len(CONTENDERS)
        for contender in (*CONTENDERS[first:], *CONTENDERS[:first]):
            forward, _ = forwards[contender]
            measured, _ = time_runs(forward, image, protocols[contender], contender.label)
            turns[contender].append(measured)
        peaks.append(peak_gflops())
    flops = count_operators(FasterNet(arch).eval().to('meta'), torch.empty(1, 3, *shape, device='meta'))['flops_full']
    return [
        summarize(
            dict(
                kind='latency',
                row=f'{"timm_" if contender.network == "timm" else ""}fasternet_{arch}',
                label=f'FasterNet-{arch.upper()}, {contender.label}',
                arch=arch,
                contender=contender.label,
                **protocols[contender].settings('backbone') | dict(precision=contender.precision),
                flops=flops,
                peak_gflops=round(float(np.median(peaks)), 1),
                max_difference=forwards[contender][1],
                rounds=turns[contender],
            ),
            # Setting up keeps all cores busy.
            own_threads=os.cpu_count(),
        )
        for contender in CONTENDERS
    ]


def build_models(arch: str) -> dict[str, nn.Module]:
    """Path → model, all with the same weights, and batch norms as if they were trained."""
    torch.manual_seed(0)
    theirs = timm_backbone(arch).eval().requires_grad_(False)
    randomize_norms(theirs)
    ours = FasterNet(arch).eval().requires_grad_(False)
    # timm has no norms of the outputs.
    ours.load_state_dict(fasternet_state_dict(theirs.state_dict(), 'timm'), strict=False)
    randomize_norms(nn.ModuleList(ours.output_norms))
    return dict(timm=theirs, reference=ours, optimized=optimize_for_inference(ours))


def set_up(
    contender: Contender, models: dict[str, nn.Module], image: Tensor, threads: int
) -> tuple[Forward | Callable, float]:
    """A function of an image, and its difference from the reference over a map's largest value."""
    if contender.network == 'timm':
        # It puts out other maps, before the norms; what leads up to them is compared in the tests.
        return models['timm'], 0.0
    model = None
    if contender.precision == 'int8':
        # Imported here, since it needs ONNX.
        from mmfasternet.deploy.quantize import quantize

        model = quantize(exported(models['reference']), [image.numpy()])
    if contender.backend == 'eager':
        forward = models[contender.network]
        with torch.no_grad():
            return forward, largest_difference(forward(image), models['reference'](image))
    precision = 'fp32' if contender.precision == 'int8' else contender.precision
    return backend_forward(models['reference'], image, contender.backend, threads, precision=precision, model=model)


@torch.inference_mode()
def peak_gflops() -> float:
    """GFLOP/s (a multiply-add is two) of the fastest large matrix product: MKL's or oneDNN's, whichever is faster."""
    size = PEAK_SIZE
    a, b = torch.rand(size, size), torch.rand(size, size)
    packed = PackedConv(nn.Conv2d(size, size, 1, bias=False).requires_grad_(False))
    pixels = torch.rand(1, 1, size, size).permute(0, 3, 1, 2)
    times = []
    for product in (lambda: a @ b, lambda: packed(pixels)):
        product()
        for _ in range(3):
            start = time.perf_counter()
            product()
            times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times) / 1e9
