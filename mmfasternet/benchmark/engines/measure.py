"""FasterNet in every engine, beside timm's: the same weights, interleaved in one run, and beside the machine's peak."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from mmfasternet.benchmark.measure.backends import backend_forward, exported, running
from mmfasternet.benchmark.measure.complexity import count_forward
from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.benchmark.measure.memory import peak_gmacs
from mmfasternet.benchmark.measure.paths import randomize_norms
from mmfasternet.benchmark.measure.precision import LackingError
from mmfasternet.benchmark.measure.turns import Clock, Contender, progress_bar, time_in_turns, use_threads
from mmfasternet.benchmark.records import Records
from mmfasternet.deploy import optimize_for_inference
from mmfasternet.models import FasterNet
from mmfasternet.weights.state_dict import fasternet_state_dict

from .profile import profile_parts
from .training import TRAINED, measure_training, timm_backbone

__all__ = ['ENGINES', 'Cell', 'Engine', 'Plan', 'build_models', 'lacks', 'measure_all', 'measure_engines']


@dataclass(frozen=True)
class Engine:
    """One way to run a backbone."""

    label: str
    network: str
    backend: str
    precision: str = 'fp32'

    @property
    def path(self) -> str:
        """What its records call the path."""
        return 'optimized' if self.network == 'optimized' else 'reference'


ENGINES = (
    Engine('timm', 'timm', 'eager'),
    Engine('reference', 'reference', 'eager'),
    Engine('optimized', 'optimized', 'eager'),
    Engine('torch.compile', 'reference', 'compile'),
    Engine('ONNX Runtime', 'reference', 'onnxruntime'),
    Engine('OpenVINO', 'reference', 'openvino'),
    Engine('OpenVINO bf16', 'reference', 'openvino', 'bf16'),
    Engine('ONNX Runtime int8', 'reference', 'onnxruntime', 'int8'),
    Engine('OpenVINO int8', 'reference', 'openvino', 'int8'),
)


@dataclass(frozen=True)
class Cell:
    """What is measured together: a variant on images of one size, with a number of threads."""

    arch: str
    shape: tuple[int, int]
    threads: int

    @property
    def title(self) -> str:
        """What tables and plots call it."""
        height, width = self.shape
        return f'{self.arch.upper()}, {height} × {width}, {self.threads} thread{"s" if self.threads > 1 else ""}'


@dataclass(frozen=True)
class Plan:
    """The cells, and how often each engine has its turn in a cell.

    Args:
        archs: Variants.
        shapes: Heights and widths of the image in pixels.
        threads: Numbers of threads.
        rounds: Turns of each engine in a cell.
        profiles: Variants and shapes to profile, with one thread.
        training: Variant, shape and batch of the training step.

    Example:
        >>> next(Plan().cells()).title
        'T0, 224 × 224, 1 thread'
    """

    archs: tuple[str, ...] = ('t0', 's', 'l')
    shapes: tuple[tuple[int, int], ...] = ((224, 224), (800, 1280))
    threads: tuple[int, ...] = (1, 2)
    rounds: int = 3
    profiles: tuple[tuple[str, tuple[int, int]], ...] = (('t0', (224, 224)), ('s', (800, 1280)))
    training: tuple[str, tuple[int, int], int] = ('s', (320, 320), 2)

    def cells(self) -> Iterator[Cell]:
        """All combinations of variant, shape and threads."""
        return (Cell(*values) for values in product(self.archs, self.shapes, self.threads))


def measure_all(plan: Plan, records: Records) -> None:
    """Measure the engines, then profile the optimized backbone and a training step, unless they are recorded.

    Args:
        plan: What to measure.
        records: Where the measurements are, and go.

    Raises:
        UserError: If a package is missing, or an engine computes something else.
    """
    measure_engines(plan, records)
    for arch, shape in plan.profiles:
        row = f'fasternet_{arch}'
        if not records.find('profile', row, shape=list(shape), threads=1):
            try:
                records.add(profile_parts(arch, shape, threads=1))
            except LackingError as error:
                records.add(_lacking(row, 'the profile', 'fp32', error))
    arch, shape, batch = plan.training
    setting = dict(shape=list(shape), batch=batch, threads=max(plan.threads))
    # All of them, since the run may have been interrupted between the first and the last.
    if not TRAINED.keys() <= {record['contender'] for record in records.of_kind('training', arch=arch, **setting)}:
        for record in measure_training(arch, rounds=4 * plan.rounds, **setting):
            records.add(record)


def measure_engines(plan: Plan, records: Records) -> None:
    """Measure every engine in every cell, and save after each cell.

    Cells that are recorded are kept. Within a cell all models are in memory and take turns. An engine or precision that
    this machine lacks is recorded as lacking, once, and left out.
    """
    missing = [cell for cell in plan.cells() if not all(_is_recorded(engine, cell, records) for engine in ENGINES)]
    with progress_bar() as progress:
        task = progress.add_task('', total=len(missing))
        for cell in missing:
            progress.update(task, description=cell.title)
            for record in _measure_cell(
                cell, plan.rounds, [engine for engine in ENGINES if not lacks(engine, records)]
            ):
                records.add(record)
                if record['kind'] == 'lacking':
                    progress.console.print(
                        f'{record["label"]} is left out: {record["reason"]}', highlight=False, markup=False
                    )
            progress.advance(task)


def build_models(arch: str) -> dict[str, nn.Module]:
    """timm's FasterNet, ours as it is trained, and optimized: the same weights, and norms as if trained."""
    torch.manual_seed(0)
    theirs = timm_backbone(arch).eval().requires_grad_(False)
    randomize_norms(theirs)
    ours = FasterNet(arch).eval().requires_grad_(False)
    # timm has no norms of the outputs.
    ours.load_state_dict(fasternet_state_dict(theirs.state_dict(), 'timm'), strict=False)
    randomize_norms(nn.ModuleList(ours.output_norms))
    return dict(timm=theirs, reference=ours, optimized=optimize_for_inference(ours))


def _is_recorded(engine: Engine, cell: Cell, records: Records) -> bool:
    where = dict(contender=engine.label, shape=list(cell.shape), threads=cell.threads)
    return lacks(engine, records) or records.find('latency', _row(engine, cell.arch), **where) is not None


def lacks(engine: Engine, records: Records) -> bool:
    """Whether the machine of the records lacks what an engine needs, as a cell has found."""
    return records.of_kind('lacking', contender=engine.label) != []


def _row(engine: Engine, arch: str) -> str:
    return f'{"timm_" if engine.network == "timm" else ""}fasternet_{arch}'


def _measure_cell(cell: Cell, rounds: int, engines: list[Engine]) -> Iterator[dict]:
    """Latencies of engines, interleaved, with the peak measured between the rounds; what lacks first."""
    image = torch.rand(1, 3, *cell.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    models = build_models(cell.arch)
    flops = count_forward(models['reference'], *cell.shape)['flops_full']
    contenders: dict[Engine, Contender] = {}
    peaks: list[float] = []
    with use_threads(cell.threads):
        for engine in engines:
            try:
                contenders[engine] = _set_up(engine, models, image, cell.threads)
            except LackingError as error:
                yield _lacking(_row(engine, cell.arch), engine.label, engine.precision, error)
        found = time_in_turns(contenders, Clock(), rounds, cell.threads, lambda: peaks.append(peak_gmacs()))
    for engine, figures in found.items():
        protocol = Protocol(threads=cell.threads, shape=cell.shape, path=engine.path)
        yield dict(
            kind='latency',
            row=_row(engine, cell.arch),
            label=f'FasterNet-{cell.arch.upper()}, {engine.label}',
            arch=cell.arch,
            contender=engine.label,
            **protocol.settings('backbone') | dict(backend=engine.backend, precision=engine.precision),
            flops=flops,
            peak_gmacs=round(float(np.median(peaks)), 1),
            **figures,
        )


def _lacking(row: str, label: str, precision: str, error: LackingError) -> dict:
    """A record of what is left out on this machine."""
    return dict(kind='lacking', row=row, label=label, contender=label, precision=precision, reason=str(error))


def _set_up(engine: Engine, models: dict[str, nn.Module], image: Tensor, threads: int) -> Contender:
    """The engine at work on the image, with its difference from the reference over a feature map's largest value."""
    context, figures, model = partial(running, engine.backend, engine.precision, 'cpu'), {}, None
    if engine.network == 'timm':
        # It puts out other feature maps, before the norms; what leads up to them is compared in the tests.
        figures = dict(computed_in=engine.precision, max_difference=0.0)
        return Contender(engine.label, partial(models['timm'], image), context=context, figures=figures)
    if engine.precision == 'int8':
        # Imported here, since it needs ONNX.
        from mmfasternet.deploy.quantize import WEIGHT_BITS, quantize

        model, figures = quantize(exported(models['reference']), [image.numpy()]), dict(weight_bits=WEIGHT_BITS)
    prepared = backend_forward(
        models[engine.network],
        image,
        engine.backend,
        threads,
        precision=engine.precision,
        model=model,
        reference=models['reference'],
    )
    figures |= dict(computed_in=prepared.computed_in, max_difference=prepared.max_difference)
    return Contender(engine.label, partial(prepared.forward, image), context=context, figures=figures)
