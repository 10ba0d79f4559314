"""A FasterNet block as one Triton kernel: PConv, both 1×1 convolutions, activation and shortcut.

A candidate for :func:`~mmfasternet.deploy.optimize_for_inference`, not a part of it: no GPU has measured it yet. A tile
of pixels stays in registers from the first load to the only store, so a block reads and writes about one feature map
each, where products read and write five each. Beyond 256 channels the products themselves take most of the time, and
the library's are faster.
"""

import copy
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, library, nn
from torch.nn import functional as F

from mmfasternet.deploy.backbone import OptimizedFasterNet
from mmfasternet.deploy.cuda import allowed_tf32
from mmfasternet.errors import UserError

try:
    import triton
    import triton.language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
except ImportError as error:
    raise UserError(
        'the fused block needs torch 2.6 or newer and its Triton: use the default package set on Linux, '
        f'or do without this block ({error})'
    ) from error

__all__ = [
    'SHARED_MEMORY',
    'WIDEST',
    'Compiled',
    'FusedBlock',
    'Tile',
    'compile_ahead',
    'default_tile',
    'is_fusible',
    'with_fused_blocks',
]

WIDEST = 256
# Compute capability, as Triton writes it → bytes of shared memory that a block of threads may have (CUDA C++
# Programming Guide, table of technical specifications per compute capability).
SHARED_MEMORY = {
    80: 163 * 1024,
    86: 99 * 1024,
    89: 99 * 1024,
    90: 227 * 1024,
    100: 227 * 1024,
    120: 99 * 1024,
}
# A product of Triton has at least this many rows and columns.
_SMALLEST = 16
# Tiles that a map should give at least: a large GPU has about as many multiprocessors.
_TILES = 128


@triton.jit(do_not_specialize=['pixels', 'height', 'width'])
def _block_kernel(
    x, out, conv, expand_p, expand_a, expand_b, bias, project_a, project_b,
    pixels, height, width,
    C: tl.constexpr, CP: tl.constexpr, HIDDEN: tl.constexpr, KP: tl.constexpr,
    RA: tl.constexpr, RB: tl.constexpr, NA: tl.constexpr, NB: tl.constexpr,
    GELU: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr,
):  # fmt: skip
    """Compute BM pixels of out = x + project(act(expand([conv(x₁), x₂]) + bias)).

    x and out are matrices with a row for each pixel of all images. Tiles have powers of two as their sizes: KP ≥ CP
    channels are convolved, RA + RB ≥ C − CP are the others, NA + NB ≥ C are written; RB and NB may be 0. Weights are
    padded with zeros, so that only feature maps need masks.
    """
    i = tl.arange(0, BM)
    pixel = tl.program_id(0) * BM + i
    inside = pixel < pixels
    column = pixel % width
    row = (pixel // width) % height
    # Offsets from here fit into 32 bits; that of a tile in a large batch doesn't.
    start = tl.program_id(0).to(tl.int64) * BM * C
    x += start
    out += start

    kp = tl.arange(0, KP)
    p = tl.zeros((BM, KP), tl.float32)
    for tap in tl.static_range(9):
        dy = tap // 3 - 1
        dx = tap % 3 - 1
        near = inside & (row + dy >= 0) & (row + dy < height) & (column + dx >= 0) & (column + dx < width)
        offset = (i + dy * width + dx) * C
        x_tap = tl.load(x + offset[:, None] + kp[None, :], mask=near[:, None] & (kp < CP)[None, :], other=0.0)
        w_tap = tl.load(conv + (tap * KP + kp)[:, None] * KP + kp[None, :])
        p = tl.dot(x_tap, w_tap, p, input_precision=PRECISION)
    p = p.to(x.dtype.element_ty)

    rows = i[:, None] * C
    ka = CP + tl.arange(0, RA)
    rest_a = tl.load(x + rows + ka[None, :], mask=inside[:, None] & (ka < C)[None, :], other=0.0)
    if RB > 0:
        kb = CP + RA + tl.arange(0, RB)
        rest_b = tl.load(x + rows + kb[None, :], mask=inside[:, None] & (kb < C)[None, :], other=0.0)

    na = tl.arange(0, NA)
    out_a = tl.zeros((BM, NA), tl.float32)
    if NB > 0:
        nb = tl.arange(0, NB)
        out_b = tl.zeros((BM, NB), tl.float32)
    for first in range(0, HIDDEN, BH):
        h = first + tl.arange(0, BH)
        w_p = tl.load(expand_p + kp[:, None] * HIDDEN + h[None, :])
        hidden = tl.dot(p, w_p, input_precision=PRECISION)
        w_a = tl.load(expand_a + tl.arange(0, RA)[:, None] * HIDDEN + h[None, :])
        hidden = tl.dot(rest_a, w_a, hidden, input_precision=PRECISION)
        if RB > 0:
            w_b = tl.load(expand_b + tl.arange(0, RB)[:, None] * HIDDEN + h[None, :])
            hidden = tl.dot(rest_b, w_b, hidden, input_precision=PRECISION)
        hidden += tl.load(bias + h)[None, :]
        if GELU:
            hidden = 0.5 * hidden * (1.0 + tl.erf(hidden * 0.7071067811865476))
        else:
            # A NaN stays one, as in torch.
            hidden = tl.maximum(hidden, 0.0, propagate_nan=tl.PropagateNan.ALL)
        activated = hidden.to(x.dtype.element_ty)
        w_out_a = tl.load(project_a + h[:, None] * NA + na[None, :])
        out_a = tl.dot(activated, w_out_a, out_a, input_precision=PRECISION)
        if NB > 0:
            w_out_b = tl.load(project_b + h[:, None] * NB + nb[None, :])
            out_b = tl.dot(activated, w_out_b, out_b, input_precision=PRECISION)

    keep = inside[:, None] & (na < C)[None, :]
    shortcut = tl.load(x + rows + na[None, :], mask=keep, other=0.0)
    tl.store(out + rows + na[None, :], (out_a + shortcut).to(x.dtype.element_ty), mask=keep)
    if NB > 0:
        keep = inside[:, None] & (NA + nb < C)[None, :]
        shortcut = tl.load(x + rows + NA + nb[None, :], mask=keep, other=0.0)
        tl.store(out + rows + NA + nb[None, :], (out_b + shortcut).to(x.dtype.element_ty), mask=keep)


class Tile(NamedTuple):
    """How the kernel is cut.

    Attributes:
        pixels: Pixels of a tile, a power of two from 16 on.
        hidden: Hidden channels that are computed at a time, likewise; they divide the padded number.
        warps: Warps that compute a tile.
        stages: Stages of the loop over hidden channels, each with weights in shared memory.
    """

    pixels: int
    hidden: int
    warps: int
    stages: int


def default_tile(channels: int, hidden_channels: int, dtype: torch.dtype) -> Tile:
    """The tile for a width, until a GPU has tried others.

    Args:
        channels: Channels of the block.
        hidden_channels: Hidden channels between the 1×1 convolutions.
        dtype: Type of feature maps and weights.

    Returns:
        A tile that fits into the shared memory of every GPU in ``SHARED_MEMORY``, by :func:`compile_ahead`.

    Example:
        >>> default_tile(40, 80, torch.float16)
        Tile(pixels=128, hidden=32, warps=4, stages=2)
    """
    hidden = 64 if _padded_hidden(hidden_channels) % 64 == 0 and channels <= 128 else 32
    pixels, warps = 128 if channels <= 128 else 64, 4 if channels <= 64 else 8
    return _tile_in(dtype, Tile(pixels, hidden, warps, 2))


def _tile_in(dtype: torch.dtype, tile: Tile) -> Tile:
    """A tile of half precision for a type: values of four bytes take twice the memory."""
    if dtype != torch.float32:
        return tile
    return tile._replace(pixels=max(_SMALLEST, tile.pixels // 2), hidden=max(_SMALLEST, tile.hidden // 2))


def is_fusible(block: nn.Module) -> bool:
    """Whether the kernel can compute a block.

    Args:
        block: A block of an optimized backbone.

    Returns:
        True for at most ``WIDEST`` channels, of which at most a quarter are convolved, a folded norm, and ReLU or the
        exact GELU.

    Example:
        >>> from mmfasternet import FasterNet
        >>> optimized = OptimizedFasterNet(FasterNet('t0').eval())
        >>> [is_fusible(stage.blocks[0]) for stage in optimized.stages[::2]]
        [True, True, True, False]
    """
    activation = block.expand.activation
    is_exact = isinstance(activation, nn.ReLU) or getattr(activation, 'approximate', None) == 'none'
    channels = block.expand.conv.in_channels
    return is_exact and channels <= WIDEST and 4 * block.conv_channels <= channels


class FusedBlock(nn.Module):
    """A block that one kernel computes, out of place. It needs a GPU, or Triton's interpreter.

    Its attribute ``tile`` may be set to another :class:`Tile` of half precision than the default one; in float32 a tile
    has half of its pixels and hidden channels.

    Args:
        block: A block of an optimized backbone, see :func:`is_fusible`; its weights are copied.

    Raises:
        ValueError: If the input has another type than the weights, another number of channels, or 2³¹ pixels or more.

    Example:
        >>> from mmfasternet import FasterNet
        >>> optimized = OptimizedFasterNet(FasterNet('t0').eval())
        >>> FusedBlock(optimized.stages[0].blocks[0])
        FusedBlock(channels=40, convolved=10)
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        expand, project = block.expand.conv, block.project.conv
        self.channels, self.conv_channels = expand.in_channels, block.conv_channels
        self.is_gelu = not isinstance(block.expand.activation, nn.ReLU)
        self.hidden_channels = expand.out_channels
        self.tile: Tile | None = None
        sizes = _sizes(self.channels, self.conv_channels, expand.out_channels)
        kp, ra, rb, na, nb, hidden = (sizes[name] for name in ('KP', 'RA', 'RB', 'NA', 'NB', 'HIDDEN'))
        cp = self.conv_channels
        # The nine taps, each a matrix of (input, output) channels.
        conv = block.partial_conv3.conv.weight.permute(2, 3, 1, 0).reshape(9, cp, cp)
        first, second = expand.weight.flatten(1).t(), project.weight.flatten(1).t()
        self.register_buffer('conv', _pad(conv, kp, kp))
        self.register_buffer('expand_p', _pad(first[:cp], kp, hidden))
        self.register_buffer('expand_a', _pad(first[cp : cp + ra], ra, hidden))
        self.register_buffer('expand_b', _pad(first[cp + ra :], rb, hidden))
        self.register_buffer('bias', F.pad(expand.bias, (0, hidden - expand.out_channels)))
        self.register_buffer('project_a', _pad(second[:, :na], hidden, na))
        self.register_buffer('project_b', _pad(second[:, na:], hidden, nb))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block.

        Args:
            x: Feature map of shape (N, channels, H, W), best channels_last; it stays as it is.

        Returns:
            A new feature map of the same shape, channels_last.
        """
        tile = _tile_in(x.dtype, self.tile or default_tile(self.channels, self.hidden_channels, torch.float16))
        # The last tile may end beyond the last pixel.
        fits = x.numel() // self.channels < 2**31 - tile.pixels
        if x.dtype != self.bias.dtype or x.shape[1] != self.channels or not fits:
            raise ValueError(
                f'a fused block takes a feature map of {self.channels} channels in {self.bias.dtype} with fewer than '
                f'2³¹ pixels, but got one of shape {tuple(x.shape)} in {x.dtype}'
            )
        x = x.contiguous(memory_format=torch.channels_last)
        return _fused_block(x, list(self.buffers()), self.conv_channels, self.is_gelu, list(tile))

    def extra_repr(self) -> str:
        return f'channels={self.channels}, convolved={self.conv_channels}'


def with_fused_blocks(optimized: OptimizedFasterNet) -> OptimizedFasterNet:
    """Replace the blocks of an optimized backbone that the kernel can compute.

    Args:
        optimized: What :func:`~mmfasternet.deploy.optimize_for_inference` gave for a FasterNet; it stays as it is.

    Returns:
        A copy, whose other blocks are products on a GPU.

    Example:
        >>> from mmfasternet import FasterNet
        >>> fused = with_fused_blocks(OptimizedFasterNet(FasterNet('t0').eval()))
        >>> [type(stage.blocks[0]).__name__ for stage in fused.stages[::2]]
        ['FusedBlock', 'FusedBlock', 'FusedBlock', '_OptimizedBlock']
    """
    fused = copy.deepcopy(optimized)
    for stage in fused.stages[::2]:
        for i, block in enumerate(stage.blocks):
            if is_fusible(block):
                stage.blocks[i] = FusedBlock(block)
    return fused


# An operator of torch, so that fake tensors, exports and counts of launches know it.
@library.custom_op('mmfasternet::fused_block', mutates_args=())
def _fused_block(
    x: Tensor, weights: Sequence[Tensor], conv_channels: int, is_gelu: bool, tile: Sequence[int]
) -> Tensor:
    n, c, height, width = x.shape
    out, pixels = torch.empty_like(x), n * height * width
    tile_pixels, hidden, warps, stages = _shrink(Tile(*tile), pixels)
    conv, expand_p, expand_a, expand_b, bias, project_a, project_b = weights
    if len(bias) % hidden:
        raise ValueError(f'a tile must have hidden channels that divide {len(bias)}, but got {hidden}')
    # Triton launches on the current device, not on that of the tensors.
    with torch.cuda.device_of(x):
        _block_kernel[(triton.cdiv(pixels, tile_pixels),)](
            x, out, conv, expand_p, expand_a,
            # A pointer that is never read.
            expand_b if expand_b.numel() else expand_a,
            bias, project_a,
            project_b if project_b.numel() else project_a,
            pixels, height, width,
            C=c, CP=conv_channels, HIDDEN=len(bias), KP=len(expand_p), RA=len(expand_a), RB=len(expand_b),
            NA=project_a.shape[1], NB=project_b.shape[1], GELU=is_gelu,
            PRECISION='tf32' if all(allowed_tf32()) else 'ieee', BM=tile_pixels, BH=hidden,
            num_warps=warps, num_stages=stages,
        )  # fmt: skip
    return out


@_fused_block.register_fake
def _(x: Tensor, weights: Sequence[Tensor], conv_channels: int, is_gelu: bool, tile: Sequence[int]) -> Tensor:
    return torch.empty_like(x)


def _shrink(tile: Tile, pixels: int) -> Tile:
    """A smaller tile for a small map, so that it gives every multiprocessor one."""
    while tile.pixels > _SMALLEST and triton.cdiv(pixels, tile.pixels) < _TILES:
        tile = tile._replace(pixels=tile.pixels // 2, warps=4)
    return tile


def _sizes(channels: int, conv_channels: int, hidden_channels: int) -> dict[str, int]:
    """The kernel's constants that a block's channels decide."""
    (ra, rb), (na, nb) = _split(channels - conv_channels), _split(channels)
    hidden = _padded_hidden(hidden_channels)
    return dict(C=channels, CP=conv_channels, HIDDEN=hidden, KP=_power(conv_channels), RA=ra, RB=rb, NA=na, NB=nb)


def _split(channels: int) -> tuple[int, int]:
    """Two powers of two, or one and 0, that hold the channels with little waste: 160 = 128 + 32, 44 ≤ 32 + 16."""
    whole = _power(channels)
    rest = _power(channels - whole // 2)
    return (whole // 2, rest) if _SMALLEST <= rest < whole // 2 else (whole, 0)


def _power(channels: int) -> int:
    """The smallest power of two that holds the channels and that a product takes."""
    return max(_SMALLEST, triton.next_power_of_2(channels))


def _padded_hidden(channels: int) -> int:
    return -(-channels // 32) * 32


def _pad(weight: Tensor, rows: int, columns: int) -> Tensor:
    return F.pad(weight, (0, columns - weight.shape[-1], 0, rows - weight.shape[-2])).contiguous()


class Compiled(NamedTuple):
    """What the kernel takes of a multiprocessor.

    Attributes:
        shared: Bytes of shared memory of a tile.
        registers: Registers of a thread, or None without Triton's own cuobjdump.
        spilled: Bytes of a thread's stack, where registers go that it has not, or None likewise.
    """

    shared: int
    registers: int | None
    spilled: int | None


def compile_ahead(
    channels: int, capability: int, dtype: torch.dtype = torch.float16, is_gelu: bool = True, tile: Tile | None = None
) -> Compiled:
    """Compile the kernel for a GPU that need not be here, which takes seconds.

    Args:
        channels: Channels of the block, of which a quarter are convolved, with two hidden channels each.
        capability: Compute capability of the GPU, such as 90 for 9.0.
        dtype: Type of feature maps and weights; float32 is computed in TF32. Defaults to float16.
        is_gelu: Whether the activation is GELU, not ReLU. Defaults to True.
        tile: How it is cut. None means :func:`default_tile`. Defaults to None.

    Returns:
        What it takes; compare ``shared`` with ``SHARED_MEMORY``.

    Example:
        >>> compile_ahead(40, 90).shared <= SHARED_MEMORY[90]
        True
    """
    tile = tile or default_tile(channels, 2 * channels, dtype)
    pointers, numbers = ('x', 'out', *_WEIGHTS), ('pixels', 'height', 'width')
    constants = dict(
        **_sizes(channels, channels // 4, 2 * channels), GELU=is_gelu, PRECISION='tf32', BM=tile.pixels, BH=tile.hidden
    )
    source = ASTSource(
        _block_kernel,
        signature={
            **dict.fromkeys(pointers, f'*{_TYPES[dtype]}'),
            **dict.fromkeys(numbers, 'i32'),
            **dict.fromkeys(constants, 'constexpr'),
        },
        constexprs=constants,
        # torch's memory begins at multiples of 16 bytes.
        attrs={(i,): [['tt.divisibility', 16]] for i in range(len(pointers))},
    )
    options = dict(num_warps=tile.warps, num_stages=tile.stages)
    made = triton.compile(source, target=GPUTarget('cuda', capability, 32), options=options)
    return Compiled(made.metadata.shared, *_resources(made.asm['cubin']))


_WEIGHTS = ('conv', 'expand_p', 'expand_a', 'expand_b', 'bias', 'project_a', 'project_b')
_TYPES = {torch.float16: 'fp16', torch.bfloat16: 'bf16', torch.float32: 'fp32'}


def _resources(cubin: bytes) -> tuple[int | None, int | None]:
    """Registers and stack of a thread, by cuobjdump."""
    program = Path(triton.__file__).parent / 'backends/nvidia/bin/cuobjdump'
    if not program.is_file():
        return None, None
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(cubin)
        file.flush()
        usage = subprocess.run([program, '-res-usage', file.name], capture_output=True, text=True, check=True).stdout
    return tuple(int(re.search(rf'{name}:(\d+)', usage)[1]) for name in ('REG', 'STACK'))
