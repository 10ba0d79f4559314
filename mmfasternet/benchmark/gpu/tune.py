"""The tiles of the fused kernel, tried on the GPU at hand."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import product
from multiprocessing import get_context

import torch
from torch import Tensor, nn

from mmfasternet.benchmark.measure.gpu import stream_times
from mmfasternet.benchmark.measure.precision import HALVES
from mmfasternet.benchmark.measure.turns import timed_runs
from mmfasternet.benchmark.records import Records
from mmfasternet.deploy import optimize_for_inference
from mmfasternet.models import FasterNet

from .predict import block_operators
from .triton_block import WIDEST, FusedBlock, Tile, with_fused_blocks

__all__ = ['tune_blocks', 'use_tiles']

_TILES = tuple(Tile(*values, stages=2) for values in product((64, 128), (32, 64), (4, 8)))
# Processes that compile side by side, and seconds that a tile is timed for.
_PROCESSES, _SECONDS = 8, 0.05


def tune_blocks(arch: str, device: str, precision: str = 'fp16', batch: int = 256, pixels: int = 56) -> Iterator[dict]:
    """Time the fused kernel with each tile, at each width of a variant.

    Args:
        arch: The variant.
        device: A GPU.
        precision: 'fp16' or 'bf16'. Defaults to 'fp16'.
        batch: Images at once. Defaults to 256.
        pixels: Height and width of the first stage's feature maps. Defaults to 56, as for images of 224 × 224.

    Yields:
        For each width a record of kind ``gpu`` with the fastest tile.
    """
    widths = [channels for channels in _widths(arch) if channels <= WIDEST]
    jobs = [(arch, stage, precision, device, batch, pixels, tile) for stage in range(len(widths)) for tile in _TILES]
    # Compiled side by side into Triton's cache, each in a process of its own, since compiling holds Python's lock. One
    # that dies is an error here; a multiprocessing.Pool would wait for it without end.
    with ProcessPoolExecutor(_PROCESSES, get_context('spawn')) as pool:
        list(pool.map(_compile, *zip(*jobs, strict=True)))
    for stage, channels in enumerate(widths):
        block, x = _block(arch, stage, precision, device, batch, pixels)
        activation, times = 'GELU' if block.is_gelu else 'ReLU', {}
        for tile in _TILES:
            block.tile = tile
            # One that does not fit into this GPU is no tile for it.
            with suppress(Exception), torch.inference_mode():
                timed_runs(lambda: block(x), device, _SECONDS, 1)  # noqa: B023
                times[tile] = sorted(stream_times(lambda: block(x), device, _SECONDS))[2]  # noqa: B023
        best = min(times, key=times.get)
        flops = sum(operator.weights for operator in block_operators('fused')) * channels**2 * x.numel() // channels
        yield dict(
            kind='gpu',
            row=_row(block),
            label=f'Fused block of {channels} channels, {activation}',
            part='kernel',
            settings=dict(arch=arch, channels=channels, activation=activation, precision=precision, batch=batch),
            figures=dict(
                stream_ms=round(times[best], 5),
                gmacs_s=round(flops / times[best] / 1e6, 1),
                config=list(best),
                all_ms={str(list(tile)): round(time, 5) for tile, time in times.items()},
            ),
        )


def use_tiles(fused: nn.Module, records: Records) -> None:
    """Give fused blocks the tiles that were found fastest, whatever half precision they run in.

    Args:
        fused: A backbone of :func:`~mmfasternet.benchmark.gpu.triton_block.with_fused_blocks`.
        records: Where :func:`tune_blocks` left them.
    """
    for block in fused.modules():
        if isinstance(block, FusedBlock):
            found = records.find('gpu', _row(block), part='kernel')
            if found:
                block.tile = Tile(*found['figures']['config'])


def _widths(arch: str) -> list[int]:
    return [FasterNet.arch_settings[arch]['embed_dims'] << stage for stage in range(4)]


def _row(block: FusedBlock) -> str:
    return f'block_{block.channels}_{"gelu" if block.is_gelu else "relu"}'


def _block(arch: str, stage: int, precision: str, device: str, batch: int, pixels: int) -> tuple[FusedBlock, Tensor]:
    """The first block of a stage, and a feature map for it."""
    fused = with_fused_blocks(optimize_for_inference(FasterNet(arch).eval()))
    block = fused.stages[2 * stage].blocks[0].to(device, HALVES[precision])
    side = pixels >> stage
    x = torch.randn(batch, block.channels, side, side, device=device, dtype=HALVES[precision])
    return block, x.contiguous(memory_format=torch.channels_last)


def _compile(arch: str, stage: int, precision: str, device: str, batch: int, pixels: int, tile: Tile) -> None:
    block, x = _block(arch, stage, precision, device, batch, pixels)
    block.tile = tile
    with suppress(Exception), torch.inference_mode():
        block(x)
