"""The ways to run a backbone on a GPU, timed in turn with the same weights."""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmcv.cnn.utils import fuse_conv_bn
from torch import Tensor, nn

from mmfasternet.benchmark.engines.measure import build_models
from mmfasternet.benchmark.measure.backends import Prepared, backend_forward, running
from mmfasternet.benchmark.measure.gpu import is_gpu
from mmfasternet.benchmark.measure.latency import MEMORY_FORMATS, Protocol
from mmfasternet.benchmark.measure.precision import PRECISIONS
from mmfasternet.benchmark.measure.turns import Clock, Contender, one_message, time_in_turns, with_gpu_figures
from mmfasternet.benchmark.records import Records

from .measured import Cell

__all__ = ['COMPILED', 'EAGER', 'GRAPHS', 'Way', 'build_networks', 'image_of', 'is_measured', 'measure_cell', 'prepare']


@dataclass(frozen=True)
class Way:
    """One way to run a backbone.

    Args:
        name: What records call it, see ``contender``.
        network: Key of :func:`build_networks`.
        memory_format: One of ``MEMORY_FORMATS``. Defaults to 'channels_last'.
        backend: One of PyTorch's. Defaults to 'eager'.
        compile_mode: torch.compile's. Defaults to None.
    """

    name: str
    network: str
    memory_format: str = 'channels_last'
    backend: str = 'eager'
    compile_mode: str | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        layout = ', NCHW' * (self.memory_format == 'contiguous')
        return f'{self.name}{layout}{", graph" * (self.backend == "graph")}'

    @property
    def path(self) -> str:
        """What its records call the path."""
        return dict(folded='folded', optimized='optimized', fused='optimized').get(self.network, 'reference')

    def is_for(self, cell: Cell) -> bool:
        """Whether there is such a way: the fused kernel has no autocast, and in fp32 takes half a minute to compile."""
        return self.network != 'fused' or (cell.weights != 'autocast' and cell.precision != 'fp32')


EAGER = (
    Way('timm', 'timm'),
    Way('reference', 'reference', memory_format='contiguous'),
    *(Way(name, name) for name in ('reference', 'folded', 'optimized', 'fused')),
)
GRAPHS = tuple(Way(name, name, backend='graph') for name in ('reference', 'folded', 'optimized', 'fused'))
COMPILED = tuple(
    Way(mode, 'reference', backend='compile', compile_mode=mode) for mode in ('reduce-overhead', 'max-autotune')
)


def build_networks(arch: str, device: str, records: Records) -> dict[str, nn.Module]:
    """The networks that the ways run, all with the same weights, in float32.

    Args:
        arch: The variant.
        device: Where they are put.
        records: Where the fastest tiles of the fused kernel are, if they were tried.

    Returns:
        'timm', 'reference', 'folded', 'optimized' and, on a GPU, 'fused' → network, in evaluation mode.

    Example:
        >>> list(build_networks('t0', 'cpu', Records({})))
        ['timm', 'reference', 'optimized', 'folded']
    """
    networks = build_models(arch)
    networks['folded'] = fuse_conv_bn(copy.deepcopy(networks['reference'])).requires_grad_(False)
    if is_gpu(device):
        # Imported here, since it needs Triton.
        from .triton_block import with_fused_blocks
        from .tune import use_tiles

        networks['fused'] = with_fused_blocks(networks['optimized'])
        use_tiles(networks['fused'], records)
    return {name: network.to(device) for name, network in networks.items()}


def image_of(cell: Cell, device: str) -> Tensor:
    """The images of a cell, the same for all ways."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(cell.batch, 3, *cell.shape, generator=generator) * 2 - 1).to(device)


def prepare(way: Way, networks: dict[str, nn.Module], image: Tensor, cell: Cell) -> tuple[Prepared, Tensor]:
    """Prepare a way to run, and compare it with the reference network in float32.

    Args:
        way: The way.
        networks: From :func:`build_networks`.
        image: From :func:`image_of`.
        cell: What it is measured in.

    Returns:
        What runs it, and the image that it takes.

    Raises:
        LackingError: If the machine lacks the precision.
        UserError: If it computes something else.
    """
    memory_format = MEMORY_FORMATS[way.memory_format]
    network = copy.deepcopy(networks[way.network]).to(memory_format=memory_format)
    image = image.contiguous(memory_format=memory_format)
    prepared = backend_forward(
        network,
        image,
        way.backend,
        torch.get_num_threads(),
        precision=cell.precision,
        weights=cell.weights,
        compile_mode=way.compile_mode,
        # timm's puts out other feature maps, those before the norms.
        reference=networks['timm' if way.network == 'timm' else 'reference'],
    )
    return prepared, image.to(PRECISIONS[cell.precision]) if cell.weights == 'cast' else image


def is_measured(cell: Cell, ways: Sequence[Way], rounds: int, records: Records) -> bool:
    """Whether every way has its rounds in a cell.

    Args:
        cell: What they run on.
        ways: Which.
        rounds: How many turns each should have.
        records: Where the latencies are.

    Returns:
        False if one is missing, as one that failed is.
    """
    where = dict(shape=list(cell.shape), batch=cell.batch, precision=cell.precision, weights=cell.weights)
    found = [
        records.of_kind(
            'latency',
            arch=cell.arch,
            contender=way.name,
            backend=way.backend,
            memory_format=way.memory_format,
            **where,
        )
        for way in ways
    ]
    return all(any(len(record['rounds']) >= rounds for record in same) for same in found)


def measure_cell(
    cell: Cell,
    ways: Sequence[Way],
    networks: dict[str, nn.Module],
    rounds: int,
    device: str,
    records: Records,
    attempt: Callable[[str], AbstractContextManager] = nullcontext,
) -> None:
    """Measure ways in turn, all of them in memory, and record them.

    Args:
        cell: What they run on.
        ways: Which; those that are not for the cell are left out.
        networks: From :func:`build_networks`, of the cell's variant.
        rounds: Turns of each.
        device: Where.
        records: Where the latencies go.
        attempt: Makes the context in which a way is prepared, given what it is called; it may swallow an exception, and
            the way is left out. Defaults to one that swallows none.

    Raises:
        LackingError: If the machine lacks the precision.
        UserError: If a way computes something else, or does not fit into the memory.
    """
    image = image_of(cell, device)
    contenders: dict[Way, Contender] = {}
    for way in (way for way in ways if way.is_for(cell)):
        with attempt(f'{cell.title}, {way.title}'):
            contenders[way] = _contender(way, networks, image, cell, device)
    if not contenders:
        return
    for way, figures in time_in_turns(contenders, Clock(device), rounds, torch.get_num_threads()).items():
        protocol = Protocol(
            device=device,
            precision=cell.precision,
            weights=None if cell.weights == 'fp32' else cell.weights,
            memory_format=way.memory_format,
            shape=cell.shape,
            batch=cell.batch,
            scopes=('backbone',),
            path='reference' if way.backend == 'compile' else way.path,
            backend=way.backend,
            compile_mode=way.compile_mode,
        )
        records.add(
            dict(
                kind='latency',
                row=f'{"timm_" if way.network == "timm" else ""}fasternet_{cell.arch}',
                label=f'FasterNet-{cell.arch.upper()}, {way.name}',
                arch=cell.arch,
                contender=way.name,
                **protocol.settings('backbone'),
                **figures,
            )
        )


def _contender(way: Way, networks: dict[str, nn.Module], image: Tensor, cell: Cell, device: str) -> Contender:
    label = f'{cell.title}, {way.title}'
    with one_message(label, device):
        prepared, given = prepare(way, networks, image, cell)
    context = partial(running, way.backend, cell.precision, device, cell.weights)
    figures: dict[str, Any] = dict(computed_in=prepared.computed_in, max_difference=prepared.max_difference)
    if prepared.compile_s is not None:
        figures['compile_s'] = prepared.compile_s
    contender = Contender(label, partial(prepared.forward, given), cell.batch, context, figures)
    return with_gpu_figures(contender, device, way.backend)
