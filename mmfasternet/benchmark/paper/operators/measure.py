"""Operators and networks: multiply-adds, memory accesses and latency (Table 1 and Fig. 2)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmfasternet.benchmark.measure.backends import running
from mmfasternet.benchmark.measure.gpu import is_gpu
from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.benchmark.measure.memory import bandwidth_gb_s, keep_memory, peak_gmacs
from mmfasternet.benchmark.measure.precision import HALVES, PRECISIONS
from mmfasternet.benchmark.measure.turns import Clock, Contender, progress_bar, time_in_turns, use_threads
from mmfasternet.benchmark.paper.experiment import Experiment
from mmfasternet.benchmark.records import Records
from mmfasternet.deploy.graphs import capture
from mmfasternet.errors import UserError

from .layers import LAYERS, SIZES, Size, build_layers, operators_at
from .networks import NETWORKS, build_network, find_networks

__all__ = ['QUICK', 'Plan', 'measure_operators']


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Args:
        sizes: Sizes of the feature maps. Defaults to the four of Table 1.
        batches: Numbers of feature maps, or images, at once. Defaults to (1, 32).
        networks: Names of networks, see :func:`~mmfasternet.benchmark.paper.operators.networks.find_networks`. Defaults
            to all.
        pixels: Height and width of the networks' images. Defaults to 224.
        device: 'cpu', or a GPU such as 'cuda:0', where everything is in channels_last and replayed as CUDA graphs: the
            time to launch ten small layers would hide what they take. Defaults to 'cpu'.
        precision: 'fp32', or on a GPU any of ``PRECISIONS``. Defaults to 'fp32'.
        threads: Threads of torch on the CPU. None means as many as torch uses by default. Defaults to None.
        rounds: Turns of each operator and network. Defaults to 5.

    Raises:
        UserError: If there is no such network, or a batch is empty.
    """

    sizes: tuple[Size, ...] = SIZES
    batches: tuple[int, ...] = (1, 32)
    networks: tuple[str, ...] = tuple(network.name for network in NETWORKS)
    pixels: int = 224
    device: str = 'cpu'
    precision: str = 'fp32'
    threads: int | None = None
    rounds: int = 5

    def __post_init__(self) -> None:
        find_networks(self.networks)
        if self.precision not in PRECISIONS or (self.precision != 'fp32' and not is_gpu(self.device)):
            raise UserError(
                f'precision must be fp32, or on a GPU one of {", ".join(PRECISIONS)}, but got {self.precision!r} on '
                f'{self.device}'
            )
        for batch in self.batches:
            if batch < 1:
                raise UserError(f'a batch must be at least 1, but got {batch}')


QUICK = dict(sizes=(Size(32, 14), Size(64, 7)), batches=(1, 2), networks=('fasternet_t0',), rounds=1)


@dataclass(frozen=True)
class _Cell:
    """What is measured together: its title, the settings of its records, the rows, and what builds them."""

    title: str
    settings: dict[str, Any]
    rows: tuple[str, ...]
    contenders: Callable[[], dict[str, Contender]]


def measure_operators(plan: Plan, path: str | Path) -> Records:
    """Measure operators and networks, cell by cell, and save after each.

    Cells that are recorded are kept. Within a cell all models are in memory and take turns; the machine's peak and
    bandwidth are measured after them.

    Args:
        plan: What to measure.
        path: File of records, see docs/records.md.

    Returns:
        The records. Their figures are ``flops`` (multiply-adds of one input), the latencies of
        :func:`~mmfasternet.benchmark.measure.turns.summarize`, and for layers ``layers``, ``width_channels`` and
        ``memory_accesses`` (elements, of the batch).

    Raises:
        UserError: If a package is missing, a batch does not fit into memory, or the records are of another machine or
            number of threads.

    Example:
        >>> records = measure_operators(Plan((Size(32, 14),), (1,), networks=(), rounds=1), 'operators.json')
        >>> [record['row'] for record in records.records][-1]
        'machine'
    """
    protocol = Protocol(device=plan.device, threads=plan.threads, rounds=plan.rounds, precision=plan.precision)
    experiment = Experiment('operators', Records.open(path, plan.device))
    common = dict(threads=protocol.torch_threads, precision=plan.precision)
    experiment.require(common)
    with use_threads(protocol.torch_threads), keep_memory(), progress_bar() as progress:
        cells = [
            cell
            for cell in _cells(plan, common)
            if not all(experiment.find(row, cell.settings) for row in (*cell.rows, 'machine'))
        ]
        task = progress.add_task('', total=len(cells))
        for cell in cells:
            progress.update(task, description=cell.title)
            _measure_cell(cell, protocol, experiment)
            progress.advance(task)
    return experiment.records


def _cells(plan: Plan, common: dict[str, Any]) -> Iterator[_Cell]:
    """The operators at each size and batch, then the networks at each batch."""
    for batch in plan.batches:
        for size in plan.sizes:
            shape = dict(channels=size.channels, height=size.pixels, width=size.pixels)
            yield _Cell(
                f'{size.channels} × {size.pixels}², batch {batch}',
                dict(scope='layers', **shape, batch=batch, **common),
                tuple(operator.name for operator in operators_at(size, batch)),
                partial(_layers, size, batch, plan),
            )
    for batch in plan.batches if plan.networks else ():
        yield _Cell(
            f'networks, batch {batch}',
            dict(scope='network', height=plan.pixels, width=plan.pixels, batch=batch, **common),
            plan.networks,
            partial(_networks, batch, plan),
        )


def _layers(size: Size, batch: int, plan: Plan) -> dict[str, Contender]:
    """Ten layers of each operator."""
    made = {}
    for operator in operators_at(size, batch):
        channels = operator.width(size)
        cost = operator.cost(size, channels)
        figures = dict(
            layers=LAYERS,
            width_channels=channels,
            flops=LAYERS * cost.flops,
            memory_accesses=LAYERS * cost.memory_accesses(batch),
        )
        noise = _noise(batch, channels, size.pixels)
        made[operator.name] = _contender(operator.label, build_layers(operator, size), noise, plan, figures)
    return made


def _networks(batch: int, plan: Plan) -> dict[str, Contender]:
    """The networks, with one input for all."""
    images, made = _noise(batch, 3, plan.pixels), {}
    for network in find_networks(plan.networks):
        model, flops = build_network(network, plan.pixels)
        made[network.name] = _contender(network.label, model, images, plan, dict(flops=flops))
    return made


def _contender(label: str, model: nn.Module, x: Tensor, plan: Plan, figures: dict[str, Any]) -> Contender:
    """A model to time on a feature map or image, on a GPU as people would deploy it there."""
    weights = 'cast' if plan.precision in HALVES else None
    if is_gpu(plan.device):
        dtype = PRECISIONS[plan.precision]
        model = _OneMap(model.to(plan.device, dtype).to(memory_format=torch.channels_last))
        model = capture(model, static_outputs=True)
        x = x.to(plan.device, dtype).contiguous(memory_format=torch.channels_last)
    context = partial(running, 'eager', plan.precision, plan.device, weights)
    return Contender(label, partial(model, x), len(x), context, figures)


def _noise(batch: int, channels: int, pixels: int) -> Tensor:
    return torch.randn(batch, channels, pixels, pixels, generator=torch.Generator().manual_seed(0))


def _measure_cell(cell: _Cell, protocol: Protocol, experiment: Experiment) -> None:
    contenders = cell.contenders()
    timed = time_in_turns(contenders, Clock(protocol.device), protocol.rounds, protocol.torch_threads)
    for row, figures in timed.items():
        if 'stream_ms' in figures:
            figures = figures | _in_a_row(figures)
        experiment.add(row, contenders[row].label, cell.settings, figures)
    limits = dict(
        peak_gmacs=peak_gmacs(protocol.device, protocol.precision), bandwidth_gb_s=bandwidth_gb_s(protocol.device)
    )
    experiment.add('machine', 'Peak', cell.settings, {name: round(value, 2) for name, value in limits.items()})


class _OneMap(nn.Module):
    """A model that gives its output as the only feature map of a backbone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.model(x),)


def _in_a_row(figures: dict) -> dict:
    """The latency by runs in a row: waiting for each would add as much as small layers take, hundredths of a ms."""
    times = [value for turn in figures['rounds'] for value in turn['stream_ms']]
    low, median, high, p90 = (round(float(value), 5) for value in np.percentile(times, (25, 50, 75, 90)))
    return dict(median_ms=median, quartiles_ms=[low, high], p90_ms=p90)
