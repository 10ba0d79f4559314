"""The stages of a run on a GPU: each is worth having alone, is recorded at once, and starts only if it has the time."""

import copy
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from mmfasternet.benchmark.engines.training import measure_training
from mmfasternet.benchmark.measure.backends import running
from mmfasternet.benchmark.measure.gpu import is_gpu
from mmfasternet.benchmark.measure.latency import Protocol, measure_latencies
from mmfasternet.benchmark.measure.memory import bandwidth_gb_s, peak_gmacs
from mmfasternet.benchmark.measure.precision import PRECISIONS, LackingError
from mmfasternet.benchmark.paper.operators.measure import QUICK as QUICK_OPERATORS
from mmfasternet.benchmark.paper.operators.measure import Plan as OperatorsPlan
from mmfasternet.benchmark.paper.operators.measure import measure_operators
from mmfasternet.benchmark.published.rows import BUILT_ROWS, find_row
from mmfasternet.benchmark.records import Records, describe_machine
from mmfasternet.benchmark.records.gpu import gpu_state
from mmfasternet.deploy.fold import largest_difference
from mmfasternet.engine.processes import started
from mmfasternet.errors import UserError

from .measured import Cell
from .ways import COMPILED, EAGER, GRAPHS, Way, build_networks, is_measured, measure_cell, prepare

__all__ = ['QUICK', 'STAGES', 'Plan', 'run_stages']

_SQUARE, _DETECTION = (224, 224), (800, 1280)
# Images at once, of which launching the kernels takes less than running them.
_SEVERAL = 8
# Height and width of the images, and how many at once.
_SIZES = ((_SQUARE, 256), (_SQUARE, 1), (_SQUARE, 32), (_DETECTION, 1))


@dataclass(frozen=True)
class Plan:
    """What the stages measure.

    Args:
        archs: Variants.
        cells: What latencies are taken in.
        others: The same, of what is worth less: the largest variant, and other precisions.
        compiled: Cells of torch.compile, which takes half a minute and more for each mode.
        odd: Batch, height and width of what is compared with float64.
        rounds: Turns of each way in a cell.
        training: Variant, batch, height and width of the training step.
        trained: Precision and memory format of the training step.
        operators: Arguments of the plan of operators.
        operator_precisions: What operators are measured in.
        rows: Rows of the comparison with AP.
        detectors: Rows of which complete detectors are measured.
        detection: Height and width of a detector's image.
        demo: Options of tools/data/make_shapes.py and of tools/train.py.
    """

    archs: tuple[str, ...] = ('t0', 's', 'l')
    cells: tuple[Cell, ...] = field(default_factory=lambda: _fp16(('t0', 's'), _SIZES) + _fp16(('l',), _SIZES[:1]))
    others: tuple[Cell, ...] = field(default_factory=lambda: _fp16(('l',), _SIZES[1:]) + _precisions(('t0', 's')))
    compiled: tuple[Cell, ...] = (
        Cell('t0', _SQUARE, 256, 'fp16', 'cast'),
        Cell('t0', _SQUARE, 1, 'fp16', 'cast'),
        Cell('s', _SQUARE, 256, 'fp16', 'cast'),
        Cell('s', _DETECTION, 1, 'fp16', 'cast'),
    )
    odd: tuple[tuple[int, int, int], ...] = ((2, 227, 301),)
    rounds: int = 2
    training: tuple[str, int, tuple[int, int]] = ('s', 128, _SQUARE)
    trained: tuple[tuple[str, str], ...] = (
        ('tf32', 'contiguous'),
        ('bf16', 'contiguous'),
        ('bf16', 'channels_last'),
    )
    operators: dict[str, Any] = field(default_factory=lambda: dict(networks=(), rounds=2))
    operator_precisions: tuple[str, ...] = ('fp16', 'tf32')
    rows: tuple[str, ...] = tuple(row.name for row in BUILT_ROWS)
    detectors: tuple[str, ...] = ('fasternet_t0', 'fasternet_s')
    detection: tuple[int, int] = _DETECTION
    demo: tuple[tuple[str, ...], tuple[str, ...]] = ((), ('train_cfg.max_epochs=2', 'train_cfg.val_begin=2'))


def _fp16(archs: Sequence[str], sizes: Sequence[tuple[tuple[int, int], int]]) -> tuple[Cell, ...]:
    return tuple(Cell(arch, shape, batch, 'fp16', 'cast') for arch in archs for shape, batch in sizes)


def _precisions(archs: Sequence[str]) -> tuple[Cell, ...]:
    """What half precision and its weights are worth."""
    others = ('tf32', 'fp32'), ('fp16', 'autocast'), ('bf16', 'cast')
    return tuple(Cell(arch, _SQUARE, 256, *other) for other in others for arch in archs)


_SMALL = Cell('t0', (64, 64), 2, 'fp32', 'fp32')
QUICK = Plan(
    archs=('t0',),
    cells=(Cell('t0', (64, 96), 1, 'fp32', 'fp32'), _SMALL),
    others=(),
    compiled=(_SMALL,),
    odd=((1, 33, 47),),
    rounds=1,
    training=('t0', 2, (64, 64)),
    trained=(('fp32', 'contiguous'), ('fp32', 'channels_last')),
    operators=dict(QUICK_OPERATORS, networks=()),
    operator_precisions=('fp32',),
    rows=('fasternet_t0',),
    detectors=('fasternet_t0',),
    detection=(128, 160),
    demo=(('--num-train', '8', '--num-val', '4'), ('train_cfg.max_epochs=1', 'train_cfg.val_begin=1')),
)


@dataclass
class _Run:
    """A run: what it measures, where, into which folder, and until when."""

    plan: Plan
    device: str
    out_dir: Path
    end: float
    records: Records
    failed: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    def has(self, seconds: float, what: str) -> bool:
        """Whether there is time for something; what is left out is said."""
        if self.left >= seconds:
            return True
        self.say(f'no time for {what}: {self.left:.0f} s are left, and it takes about {seconds:.0f} s')
        return False

    def say(self, text: str) -> None:
        print(f'[{self.left:6.1f} s left] {text}', flush=True)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Go on after a failure: the time on a GPU is too dear to lose what comes after it."""
        try:
            yield
        except LackingError as error:
            self.say(f'{what} is left out: {error}')
        except Exception as error:
            self.failed.append(what)
            self.say(f'{what} failed: {error if isinstance(error, UserError) else traceback.format_exc()}')


def run_stages(plan: Plan, stages: Sequence[str], device: str, out_dir: str | Path, budget: float) -> list[str]:
    """Run stages in their order. One that fails is reported, and the next begins; all that is measured is saved.

    What is recorded is not measured again, so that the same call resumes an interrupted run.

    Args:
        plan: What they measure.
        stages: Names, of ``STAGES``.
        device: A GPU, or 'cpu' to rehearse.
        out_dir: Folder of the records.
        budget: Seconds. A stage begins if 60 % of what it takes on a GPU are left.

    Returns:
        What failed: stages, or parts of them.

    Raises:
        UserError: If there is no such stage, the budget is no time, or the records can't be opened.

    Example:
        >>> run_stages(QUICK, [], 'cpu', 'rehearsal', budget=60)
        []
    """
    unknown = set(stages) - STAGES.keys()
    if unknown:
        raise UserError(f'no such stage: {", ".join(sorted(unknown))}; there are {", ".join(STAGES)}')
    if not budget > 0:
        raise UserError(f'the budget must be more than 0 seconds, but got {budget:g}')
    path = Path(out_dir, 'records.json')
    run = _Run(plan, device, Path(out_dir), time.monotonic() + budget, Records.open(path, device))
    for name in stages:
        stage, seconds = STAGES[name]
        if not run.has(0.6 * seconds if is_gpu(device) else 0, f'stage {name}'):
            continue
        run.say(f'stage {name}')
        with run.attempt(f'stage {name}'):
            stage(run)
        if is_gpu(device):
            torch.cuda.empty_cache()
    return run.failed


def _env(run: _Run) -> None:
    """What the machine is."""
    for name, value in describe_machine(run.device).items():
        run.say(f'{name}: {value}')
    if is_gpu(run.device):
        run.say(str(gpu_state(run.device)))


def _peaks(run: _Run) -> None:
    """The two ceilings: memory, and products in each precision."""
    if run.records.find('gpu', 'machine', part='peaks'):
        return
    figures = dict(bandwidth_gb_s=round(bandwidth_gb_s(run.device), 1))
    for precision in PRECISIONS:
        with run.attempt(f'the peak in {precision}'):
            figures[f'{precision}_gmacs'] = round(peak_gmacs(run.device, precision), 1)
    run.say(str(figures))
    run.records.add(dict(kind='gpu', row='machine', label='Peaks', part='peaks', settings={}, figures=figures))


def _correct(run: _Run) -> None:
    """The largest difference of each way from float64, on images of odd sizes, which a wrong mask would show."""
    for arch in run.plan.archs:
        if not run.has(30 if is_gpu(run.device) else 0, f'the differences of {arch.upper()}'):
            continue
        networks = build_networks(arch, run.device, run.records)
        exact = copy.deepcopy(networks['reference']).double()
        for precision in PRECISIONS:
            for batch, *shape in run.plan.odd:
                row, settings = f'fasternet_{arch}', dict(precision=precision, shape=[batch, *shape])
                if run.records.find('gpu', row, part='differences', settings=settings):
                    continue
                cell = Cell(arch, tuple(shape), batch, precision, 'cast' if precision in ('fp16', 'bf16') else 'fp32')
                image = (torch.rand(batch, 3, *shape) * 2 - 1).to(run.device)
                expected = exact(image.double())
                figures = {}
                for way in _possible(run, (*EAGER, *GRAPHS)):
                    if way.network != 'timm' and way.is_for(cell):
                        with run.attempt(f'{cell.title}, {way.title}'):
                            figures[way.title] = _difference(run, way, networks, image, cell, expected)
                if figures:
                    run.say(f'{cell.title}: {figures}')
                    record = dict(row=row, label=arch.upper(), part='differences', settings=settings, figures=figures)
                    run.records.add(dict(kind='gpu', **record))


def _difference(run: _Run, way: Way, networks: dict, image: torch.Tensor, cell: Cell, expected: tuple) -> float:
    prepared, given = prepare(way, networks, image, cell)
    with running(way.backend, cell.precision, run.device, cell.weights):
        return float(f'{largest_difference(prepared.forward(given), expected):.2e}')


def _smoke(run: _Run) -> None:
    """One cell, so that a mistake shows before the long stages."""
    _measure(run, run.plan.cells[:1], (*EAGER, *GRAPHS), 1, seconds=20)


def _tune(run: _Run) -> None:
    """The tiles of the fused kernel, which is Triton's and so needs a GPU."""
    if not is_gpu(run.device):
        return
    # Imported here, since it needs Triton.
    from .tune import tune_blocks

    tuned = {record['settings']['arch'] for record in run.records.of_kind('gpu', part='kernel')}
    for arch in run.plan.archs:
        if arch in tuned:
            continue
        with run.attempt(f'tiles of {arch.upper()}'):
            for record in tune_blocks(arch, run.device):
                run.records.add(record)
                run.say(f'{record["label"]}: {record["figures"]}')


def _latency(run: _Run) -> None:
    """All ways but torch.compile, cell by cell."""
    _measure(run, run.plan.cells, (*EAGER, *GRAPHS), run.plan.rounds, seconds=24)


def _others(run: _Run) -> None:
    """The same of what is worth less."""
    _measure(run, run.plan.others, (*EAGER, *GRAPHS), run.plan.rounds, seconds=24)


def _compile(run: _Run) -> None:
    """torch.compile at its best beside the fastest ways, in the cells that matter most."""
    _measure(run, run.plan.compiled, (*GRAPHS, *COMPILED), run.plan.rounds, seconds=110)


def _measure(run: _Run, cells: Sequence[Cell], ways: Sequence[Way], rounds: int, seconds: float) -> None:
    """Measure the cells that are not recorded and have their time, about so many seconds each; say what came out."""
    # Built once: that takes the CPU seconds that the GPU waits for.
    build = cache(partial(build_networks, device=run.device, records=run.records))
    for cell in cells:
        possible = [way for way in _possible(run, ways) if way.is_for(cell)]
        if is_measured(cell, possible, rounds, run.records):
            continue
        if run.has(seconds if is_gpu(run.device) else 0, cell.title):
            with run.attempt(cell.title):
                measure_cell(cell, possible, build(cell.arch), rounds, run.device, run.records, run.attempt)
                _say_cell(run, cell, possible)


def _say_cell(run: _Run, cell: Cell, ways: Sequence[Way]) -> None:
    settings = dict(arch=cell.arch, shape=list(cell.shape), batch=cell.batch, precision=cell.precision)
    names = {way.name for way in ways}
    for record in run.records.of_kind('latency', **settings, weights=cell.weights, scope='backbone'):
        if record.get('contender') in names:
            run.say(
                f'{cell.title}: {record["contender"]}, {record["memory_format"]}, {record["backend"]}: '
                f'{record["median_ms"]:.4f} ms, in a row {record.get("stream_ms")} ms, '
                f'{record["throughput"]:.0f} images/s {"; ".join(record["flags"])}'
            )


def _training(run: _Run) -> None:
    """A forward and a backward pass."""
    arch, batch, shape = run.plan.training
    for precision, memory_format in run.plan.trained:
        if run.records.of_kind('training', arch=arch, precision=precision, memory_format=memory_format):
            continue
        how, threads = (run.device, precision, memory_format), torch.get_num_threads()
        with run.attempt(f'training in {precision}, {memory_format}'):
            for record in measure_training(arch, shape, batch, threads, run.plan.rounds, *how):
                run.records.add(record)
                median, held = record['median_ms'], record['held_mib']
                run.say(f'{record["label"]}, {precision}, {memory_format}: {median:.1f} ms, {held} MiB')


def _operators(run: _Run) -> None:
    """The paper's operators on this device; their page is drawn by tools/paper/operators.py."""
    for precision in run.plan.operator_precisions:
        folder = 'operators' if precision == run.plan.operator_precisions[0] else f'operators_{precision}'
        if run.has(80 if is_gpu(run.device) else 0, f'operators in {precision}'):
            with run.attempt(f'operators in {precision}'):
                plan = OperatorsPlan(device=run.device, precision=precision, **run.plan.operators)
                measure_operators(plan, run.out_dir / folder / 'records.json')


def _comparison(run: _Run) -> None:
    """The rows of the latency-vs-AP comparison; their page is drawn by tools/benchmark/compare.py.

    Several images at once first: for one, launching the kernels takes most networks longer than running them.
    """
    on_gpu = is_gpu(run.device)
    precision, memory_format = ('fp16', 'channels_last') if on_gpu else ('fp32', 'contiguous')
    how = dict(device=run.device, precision=precision, memory_format=memory_format, path='folded')
    records = Records.open(run.out_dir / 'comparison/records.json', run.device)
    for several in (dict(batch=_SEVERAL, scopes=('backbone',)), {}) if on_gpu else ({},):
        protocol = Protocol(shape=run.plan.detection, rounds=run.plan.rounds, **how, **several)
        measure_latencies([find_row(name) for name in run.plan.rows], protocol, records)


def _detector(run: _Run) -> None:
    """Mask R-CNN whole: what a faster backbone is worth there."""
    precision = 'fp16' if is_gpu(run.device) else 'fp32'
    for path in ('folded', 'optimized'):
        protocol = Protocol(
            device=run.device,
            precision=precision,
            shape=run.plan.detection,
            scopes=('backbone', 'detector', 'end2end'),
            path=path,
            rounds=run.plan.rounds,
        )
        measure_latencies([find_row(name) for name in run.plan.detectors], protocol, run.records)


def _demo(run: _Run) -> None:
    """The project's own training and test, on a GPU in bfloat16: that it works there at all, and how long it takes."""
    if run.records.of_kind('gpu', part='demo'):
        return
    shapes, options = run.plan.demo
    config = 'configs/demo/mask_rcnn_fasternet_t0_shapes.py'
    amp = ['--amp'] if is_gpu(run.device) else []
    if amp:
        options = (*options, 'optim_wrapper.dtype=bfloat16')
    with TemporaryDirectory() as folder:
        start = time.monotonic()
        _tool(run, 'tools/data/make_shapes.py', f'{folder}/shapes', *shapes)
        data = f'data_root={folder}/shapes/'
        _tool(run, 'tools/train.py', config, '--work-dir', folder, *amp, '--cfg-options', data, *options)
        logs = sorted(Path(folder).glob('*/vis_data/scalars.json'))
        lines = [json.loads(line) for line in logs[-1].read_text().splitlines()]
        found = {key: value for line in lines for key, value in line.items() if key.endswith('_mAP')}
        figures = dict(seconds=round(time.monotonic() - start, 1), **found)
    run.say(str(figures))
    settings = dict(config=config, options=list(options), amp=bool(amp))
    record = dict(row='demo', label='Training', part='demo', settings=settings, figures=figures)
    run.records.add(dict(kind='gpu', **record))


def _tool(run: _Run, *words: str) -> None:
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors='replace')
    try:
        with started([sys.executable, *words], **pipes) as process:
            output, errors = process.communicate(timeout=max(1, run.left))
    except subprocess.TimeoutExpired as error:
        raise UserError(f'{words[0]} was stopped, since the time was up') from error
    if process.returncode:
        raise UserError(f'{" ".join(words)} failed: {output[-1000:]} {errors[-2000:]}')


def _possible(run: _Run, ways: Sequence[Way]) -> list[Way]:
    """Those that the device can run: CUDA graphs and the fused kernel need a GPU, and trying kernels out takes long."""
    if is_gpu(run.device):
        return list(ways)
    return [way for way in ways if way.backend != 'graph' and way.network != 'fused' and way.name != 'max-autotune']


# Name → what it does, and about how many seconds it takes on an H200, in order of worth: not all fit into a quarter of
# an hour. torch.compile is last, since max-autotune takes minutes for a cell and does not stop at a budget.
STAGES: dict[str, tuple[Callable[[_Run], None], float]] = dict(
    env=(_env, 10),
    peaks=(_peaks, 10),
    correct=(_correct, 80),
    smoke=(_smoke, 25),
    tune=(_tune, 145),
    latency=(_latency, 150),
    comparison=(_comparison, 160),
    training=(_training, 90),
    detector=(_detector, 25),
    operators=(_operators, 90),
    demo=(_demo, 80),
    others=(_others, 150),
    compile=(_compile, 360),
)
