"""Latencies that can be compared: fixed input, models interleaved over rounds, every run synchronized and kept."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from mmengine.config import Config
from rich.progress import Progress
from torch import Tensor, nn

from mmfasternet.benchmark.published.rows import Row
from mmfasternet.benchmark.records import SCOPES, Records
from mmfasternet.engine.build import build_model, check_device, load_model
from mmfasternet.errors import UserError

from .backends import COMPILE_MODES, IN_PYTORCH, backend_forward, check_backend, running
from .detector import check_two_stages, padded_shape
from .enough import Enough, ratio_to, take_enough
from .gpu import is_gpu
from .paths import PATHS, randomize_norms, take_path
from .precision import HALVES, PRECISIONS, check_precision
from .scopes import detector_forward, end2end_forward
from .turns import (
    Clock,
    Contender,
    one_message,
    progress_bar,
    summarize,
    take_turn,
    use_threads,
    with_gpu_figures,
)

__all__ = ['MEMORY_FORMATS', 'REFERENCE', 'WEIGHTS', 'Protocol', 'measure_latencies']

MEMORY_FORMATS = dict(contiguous=torch.contiguous_format, channels_last=torch.channels_last)
# How half precision comes about in PyTorch.
WEIGHTS = ('autocast', 'cast')
#: The row that the others are compared with, where it is among them; else the first one.
REFERENCE = 'fasternet_s'


@dataclass(frozen=True)
class Protocol:
    """How latencies are taken.

    Args:
        device: Where the models run, such as 'cpu' or 'cuda:0'. Defaults to 'cpu'.
        threads: Threads of torch on the CPU. None means as many as torch uses by default. Defaults to None.
        precision: 'fp32', 'tf32', 'fp16' or 'bf16'. Defaults to 'fp32'.
        weights: In half precision in PyTorch, 'autocast' or, for scope 'backbone', 'cast': weights and image in the
            precision, as people deploy. None means 'autocast'. Defaults to None.
        memory_format: 'contiguous' or 'channels_last', of the image and of a backbone's weights. An optimized backbone
            computes in channels_last whatever it is given. Defaults to 'contiguous'.
        shape: Height and width of the image in pixels, before padding. Defaults to (800, 1333).
        batch: Images at once. Defaults to 1.
        scopes: Any of 'backbone', 'detector' and 'end2end'. Defaults to ('backbone', 'detector').
        path: 'reference', 'folded' or, for FasterNet in eager PyTorch, 'optimized'. Defaults to 'reference'.
        backend: What runs the model: 'eager', or for scope 'backbone' 'graph', 'compile', 'onnxruntime' or 'openvino'.
            Defaults to 'eager'.
        compile_mode: torch.compile's, one of ``COMPILE_MODES``. None means 'default'. Defaults to None.
        provider: Execution provider of ONNX Runtime. None means the one of the device. Defaults to None.
        rounds: Turns of every model. Defaults to 5.
        runs: Timed runs in a turn, at least; a turn of fast models has more. Defaults to 2.
        enough: When further rounds, and those of flagged latencies, are enough. None means that ``rounds`` are.
            Defaults to None.
        checkpoint: Weights, for one row; without them, weights are random and detections forced. Defaults to None.
        image: Image to resize to the shape and use as input, instead of noise. Defaults to None.

    Raises:
        LackingError: If the device has no TF32.
        UserError: If an argument is out of its range, or this machine has no such device.

    Example:
        >>> Protocol(shape=(224, 224), scopes=('backbone',)).settings('backbone')['batch']
        1
    """

    device: str = 'cpu'
    threads: int | None = None
    precision: str = 'fp32'
    weights: str | None = None
    memory_format: str = 'contiguous'
    shape: tuple[int, int] = (800, 1333)
    batch: int = 1
    scopes: tuple[str, ...] = ('backbone', 'detector')
    path: str = 'reference'
    backend: str = 'eager'
    compile_mode: str | None = None
    provider: str | None = None
    rounds: int = 5
    runs: int = 2
    enough: Enough | None = None
    checkpoint: str | Path | None = None
    image: str | Path | None = None

    def __post_init__(self) -> None:
        for name in ('threads', 'batch', 'rounds', 'runs'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f'{name} must be at least 1, but got {value}')
        if min(self.shape) < 32:
            raise UserError(f'the image must be at least 32 × 32 pixels, but got {self.shape[0]} × {self.shape[1]}')
        for name, value, choices in (
            ('precision', self.precision, PRECISIONS),
            ('path', self.path, PATHS),
            ('memory_format', self.memory_format, MEMORY_FORMATS),
            *(('scope', scope, SCOPES) for scope in self.scopes),
        ):
            if value not in choices:
                raise UserError(f'{name} must be one of {", ".join(choices)}, but got {value!r}')
        check_backend(self.backend, self.provider, self.device, self.precision)
        if self.backend not in ('eager', 'graph') and self.path == 'optimized':
            raise UserError(
                f'--path optimized is for PyTorch, eager or as a CUDA graph; {self.backend} plans memory and layouts '
                'itself, and is faster with the plain network: use reference or folded'
            )
        if self.weights is not None:
            if self.weights not in WEIGHTS:
                raise UserError(f'weights must be one of {", ".join(WEIGHTS)}, but got {self.weights!r}')
            if self.precision not in HALVES or self.backend not in IN_PYTORCH:
                raise UserError(
                    f'weights say how {" or ".join(HALVES)} comes about in PyTorch, but this is {self.precision} in '
                    f'{self.backend}: leave them out'
                )
        if self.compile_mode is not None and (self.backend != 'compile' or self.compile_mode not in COMPILE_MODES):
            raise UserError(
                f'compile_mode is for backend compile and one of {", ".join(COMPILE_MODES)}, but got '
                f'{self.compile_mode!r} for {self.backend}'
            )
        if self.scopes != ('backbone',):
            for name, value in (('backend', self.backend), ('weights', self.weights)):
                if value not in ('eager', 'autocast', None):
                    raise UserError(
                        f'{name} {value} is measured in scope backbone, but got {", ".join(self.scopes)}: the complete '
                        'detector is measured in eager PyTorch, in half precision by autocast'
                    )
        check_device(self.device)
        if self.precision == 'tf32':
            # Half precision depends on the backend too, and is checked with it.
            check_precision(self.precision, self.device)

    @property
    def clock(self) -> Clock:
        """How long a turn lasts."""
        if self.enough is None:
            return Clock(self.device, least_runs=self.runs)
        wanted, longest = math.ceil(self.enough.runs / self.rounds), self.enough.seconds / self.rounds
        return Clock(self.device, least_runs=self.runs, wanted_runs=wanted, longest_s=longest)

    @property
    def torch_threads(self) -> int:
        """Threads of torch, also where none were named."""
        return self.threads or torch.get_num_threads()

    def settings(self, scope: str) -> dict:
        """The fields that tell the latencies of a row apart.

        Args:
            scope: One of its scopes.

        Returns:
            Field of a record → value.
        """
        return dict(
            scope=scope,
            path=self.path,
            backend=self.backend,
            provider=self.provider,
            precision=self.precision,
            weights=(self.weights or 'autocast') if self.precision in HALVES and self.backend in IN_PYTORCH else 'fp32',
            memory_format=self.memory_format,
            compile_mode=self.compile_mode,
            device=self.device,
            threads=self.torch_threads,
            shape=list(self.shape),
            batch=self.batch,
            checkpoint=None if self.checkpoint is None else str(self.checkpoint),
            input='noise' if self.image is None else str(self.image),
        )


def measure_latencies(rows: Sequence[Row], protocol: Protocol, records: Records) -> None:
    """Measure rows in turn, round by round, and save after every turn.

    Rounds that are already recorded are kept, so that the same call resumes an interrupted measurement. With
    ``protocol.enough``, each record also has the ratio to the reference row.

    Args:
        rows: What to measure.
        protocol: How.
        records: Where earlier latencies are, and new ones go.

    Raises:
        LackingError: If this machine lacks the precision.
        UserError: If a model can't be built or measured so.

    Example:
        >>> from mmfasternet.benchmark.published.rows import find_row
        >>> records = Records.open('latencies.json')
        >>> protocol = Protocol(shape=(64, 96), scopes=('backbone',), rounds=1)
        >>> measure_latencies([find_row('fasternet_t0')], protocol, records)
        >>> records.find('latency', 'fasternet_t0')['median_ms'] > 0
        True
    """
    if protocol.checkpoint and len(rows) > 1:
        raise UserError(f'a checkpoint fits one config, but {len(rows)} were given')

    # Those of the paper are compared with FasterNet-S.
    reference = next((row for row in rows if row.name == REFERENCE), rows[0] if rows else None)
    keys = {(row, scope): (reference, scope) for row in rows for scope in protocol.scopes}
    with progress_bar() as progress, use_threads(protocol.torch_threads):
        series = _Measured(protocol, records, progress)
        take_enough(keys, series, protocol.rounds, protocol.enough)
        if protocol.enough:
            for key, other in keys.items():
                series.add_ratio(key, other)


_Key = tuple[Row, str]


class _Measured:
    """The rounds of rows in scopes, in a file of records."""

    def __init__(self, protocol: Protocol, records: Records, progress: Progress) -> None:
        self._protocol, self._records, self._progress = protocol, records, progress
        self._task = progress.add_task('', total=0)
        self._restarted: set[_Key] = set()
        # On the CPU models are built again in each round, so that only one is in memory. A GPU has room for all, and
        # would wait for the CPU to build them.
        self._prepare = cache(_contenders) if is_gpu(protocol.device) else _contenders

    def _found(self, key: _Key) -> dict:
        row, scope = key
        return self._records.find('latency', row.name, **self._protocol.settings(scope)) or {}

    def rounds(self, key: _Key) -> list[list[float]]:
        return [] if key in self._restarted else [turn['times_ms'] for turn in self._found(key).get('rounds', [])]

    def is_flagged(self, key: _Key) -> bool:
        return bool(self._found(key).get('flags'))

    def restart(self, keys: Sequence[_Key]) -> None:
        # What is recorded stays until the first new round.
        self._restarted.update(keys)

    def take(self, keys: Sequence[_Key]) -> None:
        number = min(len(self.rounds(key)) for key in keys)
        rows = list(dict.fromkeys(row for row, _ in keys))
        self._progress.reset(self._task, total=len(rows))
        first = number % len(rows)
        for row in (*rows[first:], *rows[:first]):
            self._progress.update(self._task, description=f'round {number + 1}: {row.label}')
            contenders = self._prepare(row, self._protocol)
            for scope in [scope for other, scope in keys if other == row]:
                self._take_turn((row, scope), contenders[scope]())
            self._progress.advance(self._task)

    def _take_turn(self, key: _Key, contender: Contender) -> None:
        """Append a round to its record, and recompute the record's figures from all rounds."""
        (row, scope), protocol, old = key, self._protocol, self._found(key)
        turn, output = take_turn(contender, protocol.clock)
        detections = len(output[0].pred_instances) if scope == 'end2end' else None
        retakes = old.get('retakes', 0) + (key in self._restarted)
        rounds = [*([] if key in self._restarted else old.get('rounds', [])), turn]
        # What this program ran before kept only its own threads busy.
        summary = summarize(rounds, protocol.device, protocol.batch, busy_threads=protocol.torch_threads)
        figures = dict(contender.figures, detections=detections, **summary) | (dict(retakes=retakes) if retakes else {})
        self._records.add(dict(kind='latency', **row.identity, **protocol.settings(scope), **figures))
        self._restarted.discard(key)
        times = turn['times_ms']
        median = statistics.median(times)
        self._progress.console.print(
            f'{row.label} {scope}: {median:.3f} ms, {len(times)} runs', highlight=False, markup=False
        )

    def add_ratio(self, key: _Key, other: _Key) -> None:
        """Add the ratio to the reference, unless it is there."""
        ratio, limits = ratio_to(self.rounds(key), self.rounds(other))
        figures = dict(reference=other[0].name, ratio=ratio, ratio_interval=limits)
        found = self._found(key)
        if found | figures != found:
            self._records.add(found | figures)


def _contenders(row: Row, protocol: Protocol) -> dict[str, Callable[[], Contender]]:
    """Build a row's model, and give for each scope what makes something to time of it."""
    cfg, model = build_model(row.config_path)
    if protocol.checkpoint:
        load_model(model, protocol.checkpoint)
    else:
        randomize_norms(model)
    model, folded, difference = take_path(model, row.label, protocol.path)
    if protocol.scopes != ('backbone',):
        check_two_stages(model, row.config)
    memory_format = MEMORY_FORMATS[protocol.memory_format]
    model.to(protocol.device)
    for part in (model.backbone, model.neck) if getattr(model, 'with_neck', False) else (model.backbone,):
        part.to(memory_format=memory_format)
    image = _make_input(cfg, model, protocol).contiguous(memory_format=memory_format)
    backbone, given, computed_in, seconds = model.backbone, image, protocol.precision, None
    # Eager PyTorch in fp32 is what the others are compared with.
    if (protocol.backend, protocol.precision) != ('eager', 'fp32'):
        with one_message(row.label, protocol.device):
            prepared = backend_forward(
                backbone,
                image,
                protocol.backend,
                protocol.torch_threads,
                provider=protocol.provider,
                precision=protocol.precision,
                weights=protocol.weights,
                compile_mode=protocol.compile_mode,
            )
        backbone, computed_in, seconds = prepared.forward, prepared.computed_in, prepared.compile_s
        difference = max(prepared.max_difference, difference or 0)
        if protocol.weights == 'cast':
            given = image.to(PRECISIONS[protocol.precision])
    figures = dict(padded=list(image.shape[2:]), folded=folded, computed_in=computed_in, max_difference=difference)
    if seconds is not None:
        figures['compile_s'] = seconds
    forwards: dict[str, Callable[[], Callable]] = dict(
        backbone=lambda: partial(backbone, given),
        detector=lambda: partial(detector_forward(model, protocol.shape, protocol.batch, protocol.device), image),
        end2end=lambda: partial(
            end2end_forward(model, protocol.shape, protocol.batch, force=protocol.checkpoint is None), image
        ),
    )
    return {scope: partial(_contender, row.label, forwards[scope], protocol, figures) for scope in protocol.scopes}


def _contender(label: str, forward: Callable[[], Callable], protocol: Protocol, figures: dict) -> Contender:
    context = partial(running, protocol.backend, protocol.precision, protocol.device, protocol.weights)
    contender = Contender(label, forward(), protocol.batch, context, figures)
    return with_gpu_figures(contender, protocol.device, protocol.backend)


def _make_input(cfg: Config, model: nn.Module, protocol: Protocol) -> Tensor:
    """The same image for every model, normalized and padded by the model's own preprocessor."""
    height, width = protocol.shape
    if protocol.image is None:
        pixels = torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    else:
        # Imported here, since only a file needs it.
        import mmcv

        try:
            pixels = torch.from_numpy(mmcv.imresize(mmcv.imread(str(protocol.image)), (width, height))).permute(2, 0, 1)
        except (OSError, TypeError, AttributeError) as error:
            raise UserError(f'{protocol.image} cannot be read as an image') from error
    images = model.data_preprocessor(dict(inputs=[pixels] * protocol.batch), training=False)['inputs']
    if tuple(images.shape[2:]) != padded_shape(cfg, height, width):
        raise UserError(f'the preprocessor gives {tuple(images.shape[2:])} for {height} × {width} pixels')
    return images
