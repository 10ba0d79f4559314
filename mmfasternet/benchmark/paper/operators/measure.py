"""Operators and networks: multiply-adds, memory accesses, latency and what comes of them (Table 1 and Fig. 2)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmfasternet.benchmark.measure.latency import progress_bar, use_threads
from mmfasternet.benchmark.measure.timing import Contender, bandwidth_gb_s, keep_memory, peak_gmacs, time_in_turns
from mmfasternet.benchmark.paper.records import StudyFile
from mmfasternet.errors import UserError

from .layers import LAYERS, SIZES, Size, build_layers, operators_at
from .networks import NETWORKS, build_network, find_networks

__all__ = ['Plan', 'measure_operators']


@dataclass(frozen=True)
class Cell:
    """What is measured together: its name, the settings of its records, what it has, and how that is built."""

    title: str
    settings: dict[str, Any]
    names: tuple[str, ...]
    contenders: Callable[[], dict[str, Contender]]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        sizes: Channels and sizes of the maps. Defaults to the four of Table 1.
        batches: Maps at once. Defaults to (1, 32).
        networks: Names of networks, see :data:`~mmfasternet.benchmark.paper.operators.networks.NETWORKS`. Defaults to all.
        pixels: Height and width of the networks' pictures. Defaults to 224.
        device: 'cpu' or a GPU such as 'cuda:0'. Defaults to 'cpu'.
        threads: Threads of torch on the CPU. None means as many as torch takes. Defaults to None.
        rounds: Turns of each operator and network. Defaults to 5.

    Raises:
        UserError: If there is no such network, or a batch is empty.
    """

    sizes: tuple[Size, ...] = SIZES
    batches: tuple[int, ...] = (1, 32)
    networks: tuple[str, ...] = tuple(network.name for network in NETWORKS)
    pixels: int = 224
    device: str = 'cpu'
    threads: int | None = None
    rounds: int = 5

    def __post_init__(self) -> None:
        find_networks(self.networks)
        for batch in self.batches:
            if batch < 1:
                raise UserError(f'a batch must have at least 1 map, but got {batch}')

    def cells(self) -> Iterator[Cell]:
        """The operators at each size and batch, then the networks at each batch."""
        for batch in self.batches:
            for size in self.sizes:
                yield Cell(
                    f'{size.channels} × {size.pixels}², batch {batch}',
                    dict(scope='layers', channels=size.channels, height=size.pixels, width=size.pixels, batch=batch),
                    tuple(operator.name for operator in operators_at(size, batch)),
                    partial(layers_at, size, batch, self.device),
                )
        for batch in self.batches if self.networks else ():
            yield Cell(
                f'networks, batch {batch}',
                dict(scope='network', height=self.pixels, width=self.pixels, batch=batch),
                self.networks,
                partial(networks_at, self.networks, self.pixels, batch, self.device),
            )


def layers_at(size: Size, batch: int, device: str) -> dict[str, Contender]:
    """Ten layers of each operator."""
    made = {}
    for operator in operators_at(size, batch):
        channels = operator.width(size)
        cost = operator.cost(size, channels)
        made[operator.name] = Contender(
            operator.label,
            build_layers(operator, size).to(device),
            noise(batch, channels, size.pixels).to(device),
            dict(
                layers=LAYERS,
                width_channels=channels,
                flops=LAYERS * cost.flops,
                memory_accesses=LAYERS * cost.memory_accesses(batch),
            ),
        )
    return made


def networks_at(names: tuple[str, ...], pixels: int, batch: int, device: str) -> dict[str, Contender]:
    """The networks, with one input for all."""
    pictures, made = noise(batch, 3, pixels).to(device), {}
    for network in find_networks(names):
        model, flops = build_network(network, pixels)
        made[network.name] = Contender(network.label, model.to(device), pictures, dict(flops=flops))
    return made


def noise(batch: int, channels: int, pixels: int) -> Tensor:
    return torch.randn(batch, channels, pixels, pixels, generator=torch.Generator().manual_seed(0))


def measure_operators(plan: Plan, out: str | Path) -> dict:
    """Measure operators and networks, and save after each cell.

    Cells that the file has already are kept. Within a cell all models are in memory and take turns, and the machine's
    peak and bandwidth are measured after them.

    Args:
        plan: What to measure.
        out: File of records, see docs/records.md.

    Returns:
        The document. A record's ``figures`` have ``flops`` (multiply-adds of one input), the latencies of
        :func:`~mmfasternet.benchmark.measure.timing.time_in_turns`, and of layers ``layers``, ``width_channels`` and
        ``memory_accesses`` (elements, of the batch).

    Raises:
        UserError: If a package is missing, a batch does not fit, or the file is of another machine.

    Example:
        >>> document = measure_operators(Plan((Size(32, 14),), (1,), networks=(), rounds=1), 'operators.json')
        >>> [record['row'] for record in document['records']][-1]
        'machine'
    """
    file = StudyFile(out, 'operators', plan.device, plan.threads)
    threads = plan.threads or torch.get_num_threads()
    with use_threads(threads), keep_memory(), progress_bar() as progress:
        cells = [
            cell
            for cell in plan.cells()
            if not all(file.find(name, cell.settings) for name in (*cell.names, 'machine'))
        ]
        task = progress.add_task('', total=len(cells))
        for cell in cells:
            progress.update(task, description=cell.title)
            measure_cell(cell, plan, threads, file)
            progress.advance(task)
    return file.document


def measure_cell(cell: Cell, plan: Plan, threads: int, file: StudyFile) -> None:
    contenders = cell.contenders()
    for name, figures in time_in_turns(contenders, plan.device, threads, plan.rounds).items():
        file.add(name, contenders[name].label, cell.settings, figures)
    limits = dict(peak_gmacs=peak_gmacs(plan.device), bandwidth_gb_s=bandwidth_gb_s(plan.device))
    file.add('machine', 'Peak', cell.settings, {name: round(value, 2) for name, value in limits.items()})
