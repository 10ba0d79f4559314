"""The fused block: its values in Triton's interpreter, its machine code for GPUs that are not here."""

import os
import sys

import pytest
import torch
from helpers.fake_cuda import needs_fake_cuda
from helpers.project import ROOT, succeed
from torch._subclasses.fake_tensor import FakeTensorMode

from mmfasternet import FasterNet
from mmfasternet.benchmark.gpu.launches import to_fake_cuda
from mmfasternet.deploy import optimize_for_inference

pytest.importorskip('triton', reason='Triton is not installed')
if torch.__version__ < '2.6':
    pytest.skip(f'the Triton of torch {torch.__version__} is too old, that of 2.6 is not', allow_module_level=True)

from mmfasternet.benchmark.gpu import triton_block  # noqa: E402
from mmfasternet.benchmark.gpu.triton_block import (  # noqa: E402
    SHARED_MEMORY,
    FusedBlock,
    Tile,
    compile_ahead,
    default_tile,
    is_fusible,
    with_fused_blocks,
)

ARCHS = ('t0', 't1', 't2', 's', 'm', 'l')
# Of all variants' blocks, those that the kernel is for.
WIDTHS = (40, 64, 80, 96, 128, 144, 160, 192, 256)
# Ampere, Hopper, and Blackwell with little shared memory.
GPUS = (80, 90, 120)


def test_these_are_the_widths_of_the_variants():
    widths = {settings['embed_dims'] << i for settings in FasterNet.arch_settings.values() for i in range(4)}
    assert {width for width in widths if width <= 256} == set(WIDTHS)


def check_in_the_interpreter(*widths: int) -> None:
    succeed(ROOT / 'tests/helpers/interpret_block.py', *widths, TRITON_INTERPRET='1')


def test_values_in_the_interpreter():
    # Of 44 channels, 11 are convolved, and 33 are not, just more than a power of two.
    check_in_the_interpreter(40, 44)


@pytest.mark.slow
def test_values_of_all_widths_in_the_interpreter():
    check_in_the_interpreter(*WIDTHS)


@pytest.mark.parametrize('arch', ARCHS)
def test_narrow_blocks_are_replaced(arch):
    optimized = optimize_for_inference(FasterNet(arch).eval())
    fused = with_fused_blocks(optimized)
    for stage, other in zip(fused.stages[::2], optimized.stages[::2], strict=True):
        for block, kept in zip(stage.blocks, other.blocks, strict=True):
            assert isinstance(block, FusedBlock) == (kept.expand.conv.in_channels <= 256)
            assert not isinstance(kept, FusedBlock)


@pytest.mark.parametrize(
    'arguments',
    [
        dict(norm_cfg=dict(type='LN')),
        dict(act_cfg=dict(type='SiLU')),
        dict(arch=dict(embed_dims=40, depths=(1, 1, 1, 1), partial_ratio=1 / 2)),
    ],
    ids=str,
)
def test_what_the_kernel_cannot_compute_stays(arguments):
    optimized = optimize_for_inference(FasterNet(**{'arch': 't0', **arguments}).eval())
    assert not any(is_fusible(block) for stage in optimized.stages[::2] for block in stage.blocks)


@needs_fake_cuda
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@torch.no_grad()
def test_maps_on_cuda(dtype):
    mode = FakeTensorMode()
    gpu = to_fake_cuda(with_fused_blocks(optimize_for_inference(FasterNet('t0').eval())), mode, dtype)
    with mode:
        image = torch.empty(2, 3, 64, 96, device='cuda', dtype=dtype)
        for i, out in enumerate(gpu(image)):
            assert (out.device.type, out.dtype, out.shape) == ('cuda', dtype, (2, 40 << i, 16 >> i, 24 >> i))
            assert out.is_contiguous(memory_format=torch.channels_last)
        exported = torch.export.export(gpu, (image,))
    names = [str(node.target) for node in exported.graph.nodes]
    assert names.count('mmfasternet.fused_block.default') == 1 + 2 + 8


def test_mistakes():
    block = FusedBlock(optimize_for_inference(FasterNet('t0').eval()).stages[0].blocks[0])
    for wrong in (torch.empty(1, 40, 4, 4).half(), torch.empty(1, 44, 4, 4)):
        with pytest.raises(ValueError, match='takes a feature map of 40 channels in torch.float32'):
            block(wrong)
    block.tile = Tile(16, 64, 4, 1)
    with pytest.raises(ValueError, match='hidden channels that divide 96, but got 64'):
        block.half()(torch.empty(1, 40, 4, 4).half())
    block.float()
    huge = torch.empty(1, 40, 2**16, 2**15, device='meta', memory_format=torch.channels_last)
    with pytest.raises(ValueError, match='fewer than 2³¹ pixels'):
        block(huge)


@pytest.fixture(scope='module', autouse=True)
def cache(tmp_path_factory):
    """Compile anew in each run."""
    before = os.environ.get('TRITON_CACHE_DIR')
    os.environ['TRITON_CACHE_DIR'] = str(tmp_path_factory.mktemp('triton'))
    yield
    os.environ.pop('TRITON_CACHE_DIR')
    if before is not None:
        os.environ['TRITON_CACHE_DIR'] = before


def check_compiled(channels: int, gpu: int, *arguments) -> None:
    compiled = compile_ahead(channels, gpu, *arguments)
    assert 0 < compiled.shared <= SHARED_MEMORY[gpu]
    if compiled.registers is not None:
        assert 0 < compiled.registers <= 255 and compiled.spilled <= 256


def test_machine_code_of_one_width():
    check_compiled(40, 90)


@pytest.mark.slow
@pytest.mark.parametrize('gpu', GPUS)
@pytest.mark.parametrize('channels', WIDTHS)
def test_machine_code(channels, gpu):
    check_compiled(channels, gpu)


@pytest.mark.slow
@pytest.mark.parametrize('gpu', GPUS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_machine_code_of_other_types(dtype, gpu):
    check_compiled(96, gpu, dtype, False)


@pytest.mark.slow
@pytest.mark.parametrize('gpu', GPUS)
@pytest.mark.parametrize('channels', [40, 256])
def test_machine_code_of_the_smallest_tiles(channels, gpu):
    """Of a map with few pixels."""
    tile = default_tile(channels, 2 * channels, torch.float16)
    check_compiled(channels, gpu, torch.float16, True, Tile(16, tile.hidden, 4, tile.stages))


@pytest.mark.parametrize(('dtype', 'used'), [(torch.float16, [64, 32, 8, 2]), (torch.float32, [32, 16, 8, 2])])
def test_a_tile_of_half_precision_is_halved_in_float32(dtype, used, monkeypatch):
    """It would otherwise need twice the memory, more than a multiprocessor has."""
    tiles = []
    monkeypatch.setattr(triton_block, '_fused_block', lambda x, *others: tiles.append(others[-1]))
    block = FusedBlock(optimize_for_inference(FasterNet('t0').eval()).stages[0].blocks[0]).to(dtype)
    block.tile = Tile(64, 32, 8, 2)
    block(torch.empty(1, 40, 4, 4, dtype=dtype))
    assert tiles == [used]


@pytest.mark.slow
def test_the_program_says_what_it_lacks():
    code = 'import sys; sys.modules["triton"] = None; import mmfasternet.benchmark.gpu.triton_block'
    with pytest.raises(AssertionError, match='UserError: the fused block needs torch 2.6 or newer and its Triton'):
        succeed(sys.executable, '-c', code)
