"""A program: the fused block in Triton's interpreter, beside torch's own operators in float64.

    TRITON_INTERPRET=1 python interpret_block.py CHANNELS...

It prints a line for each width, activation, type and size of map, and fails at the first that differs.
"""

import sys

import torch
from torch import nn

from mmfasternet import FasterNet
from mmfasternet.benchmark.gpu.triton_block import FusedBlock, Tile
from mmfasternet.deploy import optimize_for_inference

# Of the difference, by the norm. The interpreter has no bfloat16.
LIMITS = {torch.float32: 1e-6, torch.float16: 1e-3}
# A size of several tiles that cut rows and images, and the smallest one.
SIZES = ((2, 5, 7), (1, 1, 1))


def optimized_block(channels: int, act: str, dtype: torch.dtype) -> nn.Module:
    """A block whose norm is folded, with weights that a type holds exactly."""
    torch.manual_seed(channels)
    arch = dict(embed_dims=channels, depths=(1, 0, 0, 0), act_cfg=dict(type=act))
    model = FasterNet(arch, out_indices=(0,)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.5)
    return optimize_for_inference(model).to(dtype).stages[0].blocks[0]


def check(channels: int, act: str, dtype: torch.dtype) -> None:
    block = optimized_block(channels, act, dtype)
    fused, exact = FusedBlock(block), block.double()
    # Small tiles, so that small maps have several.
    fused.tile = Tile(16, 32, 4, 1)
    for n, height, width in SIZES:
        x = torch.randn(n, channels, height, width).to(dtype).contiguous(memory_format=torch.channels_last)
        kept = x.clone()
        found = fused(x)
        expected = exact(x.double())
        error = float((found.double() - expected).norm() / expected.norm())
        print(channels, act, dtype, (n, height, width), f'{error:.1e}', flush=True)
        assert error <= LIMITS[dtype], 'the kernel computes something else'
        assert torch.equal(x, kept), 'the kernel writes over its input'
        assert found.is_contiguous(memory_format=torch.channels_last), 'the memory format is lost'


@torch.no_grad()
def main() -> None:
    for channels in map(int, sys.argv[1:]):
        for act in ('ReLU', 'GELU'):
            for dtype in LIMITS:
                check(channels, act, dtype)
    block = FusedBlock(optimized_block(40, 'ReLU', torch.float32))
    x = torch.randn(1, 40, 4, 4).contiguous(memory_format=torch.channels_last)
    x[0, 20, 3, 3] = torch.nan
    assert torch.isnan(block(x)[:, :, 3, 3]).all() and not torch.isnan(block(x)[:, :, :3]).any(), 'a NaN is lost'


if __name__ == '__main__':
    main()
