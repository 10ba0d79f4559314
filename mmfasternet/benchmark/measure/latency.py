"""Latencies that can be compared: fixed input, models interleaved over rounds, every run synchronised and kept."""

import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from mmfasternet.benchmark.published.rows import Row
from mmfasternet.benchmark.records.records import describe_machine, new_document, provenance, read_records
from mmfasternet.engine.build import build_model, load_model
from mmfasternet.errors import UserError
from mmfasternet.files import write_json

from .backends import backend_forward, check_backend
from .detector import padded_shape, parts_of
from .paths import PATHS, fold, randomize_norms
from .scopes import SCOPES, Forward, backbone_forward, detector_forward, end2end_forward

__all__ = ['Protocol', 'measure_latencies', 'use_threads']

PRECISIONS = dict(fp32=None, fp16=torch.float16, bf16=torch.bfloat16)
# A share of the median that the quartiles may lie apart, and threads' worth of load by others.
MAX_SPREAD = 0.1
MAX_FOREIGN_LOAD = 0.5


@dataclass(frozen=True)
class Protocol:
    """How latencies are taken.

    Args:
        device: Where the models run, such as 'cpu' or 'cuda:0'. Defaults to 'cpu'.
        threads: Threads of torch on the CPU. None means as many as torch takes by itself. Defaults to None.
        precision: 'fp32', or 'fp16' or 'bf16' by autocast. Defaults to 'fp32'.
        shape: Height and width of the picture in pixels, before padding. Defaults to (800, 1333).
        batch: Pictures at once. Defaults to 1.
        scopes: Any of 'backbone', 'detector' and 'end2end'. Defaults to ('backbone', 'detector').
        path: 'reference', 'deploy' or, for FasterNet in eager PyTorch, 'optimized'. Defaults to 'reference'.
        backend: What runs the model: 'eager', or for scope 'backbone' 'compile', 'onnxruntime' or 'openvino'. Defaults
            to 'eager'.
        provider: Execution provider of ONNX Runtime. None means the one of the device. Defaults to None.
        rounds: How often every model has its turn. Defaults to 5.
        warmup: Runs before the timed ones in each turn. Defaults to 2.
        runs: Timed runs in each turn. Defaults to 5.
        checkpoint: Weights, for one row; without them, weights are random and detections forced. Defaults to None.
        image: Picture to resize to the shape and use as input, instead of noise. Defaults to None.

    Raises:
        UserError: If an argument is out of its range, or this machine has no such device.
    """

    device: str = 'cpu'
    threads: int | None = None
    precision: str = 'fp32'
    shape: tuple[int, int] = (800, 1333)
    batch: int = 1
    scopes: tuple[str, ...] = ('backbone', 'detector')
    path: str = 'reference'
    backend: str = 'eager'
    provider: str | None = None
    rounds: int = 5
    warmup: int = 2
    runs: int = 5
    checkpoint: str | Path | None = None
    image: str | Path | None = None

    def __post_init__(self) -> None:
        for name, least in dict(threads=1, batch=1, rounds=1, warmup=0, runs=1).items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f'{name} must be at least {least}, but got {value}')
        if min(self.shape) < 32:
            raise UserError(f'the picture must be at least 32 × 32 pixels, but got {self.shape[0]} × {self.shape[1]}')
        for name, value, choices in (
            ('precision', self.precision, PRECISIONS),
            ('path', self.path, PATHS),
            *(('scope', scope, SCOPES) for scope in self.scopes),
        ):
            if value not in choices:
                raise UserError(f'{name} must be one of {", ".join(choices)}, but got {value!r}')
        check_backend(self.backend, self.provider, self.device, self.precision)
        if self.backend != 'eager' and self.path == 'optimized':
            raise UserError(
                f'--path optimized is for eager PyTorch; {self.backend} plans memory and layouts itself, and is faster '
                'with the plain network: take reference or deploy'
            )
        if self.backend != 'eager' and self.scopes != ('backbone',):
            raise UserError(
                f'backend {self.backend} is measured in scope backbone, but got {", ".join(self.scopes)}: the whole '
                'detector is measured in eager PyTorch'
            )
        try:
            torch.empty(1, device=self.device).cpu()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f'device {self.device!r} can not be used here ({reason}); take cpu or cuda:0') from error

    def settings(self, scope: str) -> dict:
        """What tells one latency of a row from another."""
        return dict(
            scope=scope,
            path=self.path,
            backend=self.backend,
            provider=self.provider,
            precision=self.precision,
            device=self.device,
            threads=self.threads or torch.get_num_threads(),
            shape=list(self.shape),
            batch=self.batch,
            checkpoint=None if self.checkpoint is None else str(self.checkpoint),
            input='noise' if self.image is None else str(self.image),
        )


def measure_latencies(rows: list[Row], protocol: Protocol, out: str | Path) -> dict:
    """Measure rows in turn, round by round, and save after every turn.

    What the file has already is kept, and only what is missing is measured, so that the same call goes on where it was
    stopped.

    Args:
        rows: What to measure.
        protocol: How.
        out: File of records, see docs/records.md.

    Returns:
        The document, with those records and all that were in the file.

    Raises:
        UserError: If a model can't be built or measured so, or the file is of another machine.

    Example:
        >>> from mmfasternet.benchmark.published.rows import find_row
        >>> protocol = Protocol(shape=(64, 96), scopes=('backbone',), rounds=1, warmup=1, runs=1)
        >>> document = measure_latencies([find_row('fasternet_t0')], protocol, 'latencies.json')
        >>> document['records'][0]['row']
        'fasternet_t0'
    """
    if protocol.checkpoint and len(rows) > 1:
        raise UserError(f'a checkpoint fits one config, but {len(rows)} were given')
    torch.set_num_threads(protocol.threads or torch.get_num_threads())
    document = open_document(out, protocol)
    turns = [
        (number, row)
        for number in range(protocol.rounds)
        # Each round starts with another row, so that none always follows the same.
        for row in (*rows[number % len(rows) :], *rows[: number % len(rows)])
        if any(rounds_of(document, row, protocol, scope) <= number for scope in protocol.scopes)
    ]
    if not turns:
        return document
    with progress_bar() as progress:
        task = progress.add_task('', total=len(turns))
        for number, row in turns:
            progress.update(task, description=f'round {number + 1} of {protocol.rounds}: {row.label}')
            scopes = [scope for scope in protocol.scopes if rounds_of(document, row, protocol, scope) <= number]
            for record in take_turn(row, protocol, scopes):
                add_round(document, record, protocol)
                write_json(out, document)
                times = ', '.join(f'{value:.0f}' for value in record['rounds'][0]['times_ms'])
                progress.console.print(f'{row.label} {record["scope"]}: {times} ms', highlight=False)
            progress.advance(task)
    return document


def open_document(out: str | Path, protocol: Protocol) -> dict:
    machine = describe_machine(protocol.device, protocol.threads or torch.get_num_threads())
    if not Path(out).exists():
        document = new_document(machine)
        # Now, not after the first turn, it shows whether it can be written.
        write_json(out, document)
        return document
    document = read_records(out)
    if document['machine']['id'] != machine['id']:
        raise UserError(
            f'{out} was taken on another machine or with other packages ({document["machine"]["label"]}, this is '
            f'{machine["label"]}); write to another file, tools/benchmark/compare.py takes both'
        )
    return document


def rounds_of(document: dict, row: Row, protocol: Protocol, scope: str) -> int:
    record = find_record(document, row.name, protocol.settings(scope))
    return len(record['rounds']) if record else 0


def find_record(document: dict, row: str, settings: dict) -> dict | None:
    for record in document['records']:
        # Records from before there were backends are eager.
        whole = dict(backend='eager', provider=None) | record
        if record['kind'] == 'latency' and record['row'] == row and whole.items() >= settings.items():
            return record
    return None


def take_turn(row: Row, protocol: Protocol, scopes: list[str]) -> Iterator[dict]:
    """Build a row's model anew, so that memory holds one at a time, and give one round of records, scope by scope."""
    cfg, model = build_model(row.config_path)
    if protocol.checkpoint:
        load_model(model, protocol.checkpoint)
    else:
        randomize_norms(model)
    folded, difference = 0, None
    if protocol.path != 'reference':
        model, folded, difference = fold(model, row.label, protocol.path)
    if scopes != ['backbone']:
        parts_of(model, row.config)
    model.to(protocol.device)
    shape, batch, device = protocol.shape, protocol.batch, protocol.device
    picture = make_input(cfg, model, protocol)
    backbone = backbone_forward(model)
    if protocol.backend != 'eager':
        backbone, beside = backend_forward(
            backbone, picture, protocol.backend, torch.get_num_threads(), protocol.provider, protocol.precision
        )
        difference = max(beside, difference or 0)
    for scope in scopes:
        forward = dict(
            backbone=lambda: backbone,
            detector=lambda: detector_forward(model, shape, batch, device),
            end2end=lambda: end2end_forward(model, shape, batch, force=protocol.checkpoint is None),
        )[scope]()
        measured, outputs = time_runs(forward, picture, protocol, row.label)
        yield dict(
            kind='latency',
            **row.identity,
            **protocol.settings(scope),
            padded=list(picture.shape[2:]),
            folded=folded,
            max_difference=difference,
            detections=len(outputs[0].pred_instances) if scope == 'end2end' else None,
            rounds=[measured],
        )


def make_input(cfg: dict, model: nn.Module, protocol: Protocol) -> Tensor:
    """The same picture for every model, normalized and padded by the model's own preprocessor."""
    height, width = protocol.shape
    if protocol.image is None:
        pixels = torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    else:
        # Imported here, since noise needs no reader.
        import mmcv

        try:
            pixels = torch.from_numpy(mmcv.imresize(mmcv.imread(str(protocol.image)), (width, height))).permute(2, 0, 1)
        except (OSError, TypeError, AttributeError) as error:
            raise UserError(f'{protocol.image} can not be read as a picture') from error
    pictures = model.data_preprocessor(dict(inputs=[pixels] * protocol.batch), training=False)['inputs']
    if tuple(pictures.shape[2:]) != padded_shape(cfg, height, width):
        raise UserError(f'the preprocessor gives {tuple(pictures.shape[2:])} for {height} × {width} pixels')
    return pictures


def time_runs(forward: Forward, picture: Tensor, protocol: Protocol, name: str) -> tuple[dict, object]:
    """One turn: the times of all runs in ms, with the machine's state before it, and the last outputs."""
    load = os.getloadavg()[0]
    times = []
    try:
        # The compiler freezes weights where gradients are off, and not in inference mode.
        no_gradients = torch.no_grad() if protocol.backend == 'compile' else torch.inference_mode()
        with no_gradients, autocast(protocol):
            for index in range(protocol.warmup + protocol.runs):
                start = time.perf_counter()
                outputs = forward(picture)
                if picture.is_cuda:
                    torch.cuda.synchronize(picture.device)
                if index >= protocol.warmup:
                    times.append((time.perf_counter() - start) * 1000)
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(f'{name} does not fit into the memory of {protocol.device}; take a smaller batch') from error
    except RuntimeError as error:
        if 'not implemented for' in str(error):
            raise UserError(f'{name} can not run in {protocol.precision} on {protocol.device}: {error}') from error
        raise
    return dict(
        times_ms=[round(value, 3) for value in times],
        load_average=round(load, 2),
        clock_mhz=clock_mhz(protocol.device),
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
    ), outputs


@contextmanager
def autocast(protocol: Protocol) -> Iterator[None]:
    dtype = PRECISIONS[protocol.precision]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        context = torch.autocast(torch.device(protocol.device).type, dtype=dtype, enabled=dtype is not None)
    # torch warns of a precision that it can't cast to, and goes on in fp32.
    if any('isabling autocast' in str(warning.message) for warning in caught):
        raise UserError(
            f'autocast to {protocol.precision} does not exist on {protocol.device} in torch {torch.__version__}'
        )
    with context:
        yield


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads on the CPU, and afterwards as many as before.

    Args:
        count: Number of threads.

    Example:
        >>> with use_threads(1):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def clock_mhz(device: str) -> float | None:
    """The mean clock of the cores, or the GPU's; None where the machine doesn't say."""
    if device.startswith('cuda'):
        try:
            return float(torch.cuda.clock_rate(device))
        except (ImportError, RuntimeError):
            return None
    try:
        text = Path('/proc/cpuinfo').read_text()
    except OSError:
        return None
    clocks = [float(value) for value in re.findall(r'^cpu MHz\s*: ([\d.]+)', text, re.MULTILINE)]
    return round(sum(clocks) / len(clocks)) if clocks else None


def add_round(document: dict, new: dict, protocol: Protocol) -> None:
    """Append a round to its record, and compute the record's figures anew from all rounds."""
    record = find_record(document, new['row'], protocol.settings(new['scope']))
    if record is None:
        record = new
        document['records'].append(record)
    else:
        record['rounds'] += new['rounds']
    summarize(record)


def summarize(record: dict, own_threads: int | None = None) -> dict:
    """Set a record's figures to what all of its rounds give.

    Args:
        record: With ``rounds``, ``batch``, ``threads`` and ``device``; it is changed in place.
        own_threads: How many threads this program kept busy before the rounds. None means those of the record.
            Defaults to None.

    Returns:
        The record.
    """
    times = np.concatenate([turn['times_ms'] for turn in record['rounds']])
    median = float(np.median(times))
    quartiles = [round(float(value), 3) for value in np.percentile(times, (25, 75))]
    record.update(
        median_ms=round(median, 3),
        p90_ms=round(float(np.percentile(times, 90)), 3),
        quartiles_ms=quartiles,
        throughput=round(1000 * record['batch'] / median, 4),
        flags=flags_of(record, quartiles[1] - quartiles[0], median, own_threads or record['threads']),
        **provenance(),
    )
    return record


def flags_of(record: dict, spread: float, median: float, own_threads: int) -> list[str]:
    """Why a figure should be taken again."""
    flags = []
    if spread > MAX_SPREAD * median:
        flags.append(f'the quartiles lie {spread / median:.0%} of the median apart: the machine was busy')
    # Earlier turns of this program alone keep its own threads busy.
    foreign = max(turn['load_average'] for turn in record['rounds']) - own_threads
    if record['device'] == 'cpu' and foreign > MAX_FOREIGN_LOAD:
        flags.append(f'the load average was {foreign:.1f} above the threads in use: something else ran')
    clocks = [turn['clock_mhz'] for turn in record['rounds'] if turn['clock_mhz']]
    if clocks and min(clocks) < (1 - MAX_SPREAD) * max(clocks):
        flags.append(f'the clock went from {max(clocks):.0f} down to {min(clocks):.0f} MHz')
    return flags


def progress_bar() -> Progress:
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, TextColumn('left:'), TimeRemainingColumn(), console=Console(stderr=True))
