"""The optimized model on CUDA: without a GPU, what it would compute there, in what, and that it waits for nothing."""

import copy
import pickle
import sys
from unittest.mock import patch

import pytest
import torch
from helpers.backbones import trained
from helpers.fake_cuda import autocast_cuda, needs_fake_cuda
from helpers.project import succeed
from mmengine import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from mmfasternet import FasterNet
from mmfasternet.benchmark.gpu.launches import to_fake_cuda
from mmfasternet.deploy import backbone, cuda, optimize_for_inference, packed
from mmfasternet.deploy.fold import fold_model
from mmfasternet.deploy.packed import PackedConv

ARCHS = ('t0', 't1', 't2', 's', 'm', 'l')
HALF = (torch.float16, torch.bfloat16)
SLIM = dict(embed_dims=40, depths=(1, 1, 2, 1))


def difference(maps, others) -> float:
    """The largest, over the largest value of the map."""
    return max(float((a.double() - b.double()).abs().max() / b.abs().max()) for a, b in zip(maps, others, strict=True))


class OnGpu:
    """What a block does on a GPU, done on the CPU, by products or by convolutions."""

    def __init__(self, products: bool) -> None:
        self.products = products

    def __enter__(self) -> None:
        self.patches = [
            patch.object(backbone._OptimizedBlock, 'forward', backbone._OptimizedBlock.forward_on_gpu),
            patch.object(backbone, 'has_products_for', lambda x: self.products),
        ]
        for each in self.patches:
            each.start()

    def __exit__(self, *_) -> None:
        for each in self.patches:
            each.stop()


# Values.


@pytest.mark.parametrize('products', [True, False])
@pytest.mark.parametrize('arch', ARCHS)
@torch.no_grad()
def test_both_forms_compute_what_the_reference_does(arch, products):
    model = trained(arch=arch).double()
    fast = optimize_for_inference(model)
    image = torch.rand(2, 3, 67, 93, dtype=torch.float64)
    with OnGpu(products):
        assert difference(fast(image), model(image)) < 1e-12


OPTIONS = [
    dict(out_norm=False),
    dict(layer_scale_init_value=0.5),
    dict(norm_cfg=dict(type='LN')),
    dict(norm_cfg=dict(type='GN', num_groups=2)),
    dict(norm_cfg=dict(type='BN', track_running_stats=False)),
    dict(act_cfg=dict(type='SiLU')),
    dict(act_cfg=dict(type='PReLU', num_parameters=1)),
    dict(act_cfg=dict(type='GELU')),
    dict(arch=dict(embed_dims=24, depths=(1, 1, 1, 1), partial_ratio=1.0)),
    # One channel is convolved.
    dict(arch=dict(embed_dims=8, depths=(1, 1, 1, 1), partial_ratio=1 / 8)),
]


@pytest.mark.parametrize('products', [True, False])
@pytest.mark.parametrize('arguments', OPTIONS, ids=str)
@torch.no_grad()
def test_every_option(arguments, products):
    model = trained(**{'arch': SLIM, **arguments}).double()
    fast = optimize_for_inference(model)
    image = torch.rand(2, 3, 61, 90, dtype=torch.float64)
    kept = image.clone()
    with OnGpu(products):
        maps = fast(image)
        assert difference(maps, model(image)) < 1e-12
        first = [out.clone() for out in maps]
        fast(torch.rand_like(image))
    # What is handed out, and in, stays.
    assert all(torch.equal(a, b) for a, b in zip(maps, first, strict=True)) and torch.equal(image, kept)


@pytest.mark.parametrize('dtype', HALF)
@pytest.mark.parametrize('arch', ['t0', 't2', 'm'])
@torch.no_grad()
def test_half_precision_is_as_good_as_the_references(arch, dtype):
    model = trained(arch=arch)
    image = torch.rand(2, 3, 64, 96)
    exact = model(image)
    try:
        theirs = difference(copy.deepcopy(model).to(dtype)(image.to(dtype)), exact)
    except RuntimeError as error:
        pytest.skip(f'torch {torch.__version__} has no convolution for it on the CPU: {error}')
    with OnGpu(products=True):
        ours = difference(optimize_for_inference(model).to(dtype)(image.to(dtype)), exact)
    assert ours <= 2 * theirs


@pytest.mark.parametrize('dtype', [torch.float64, *HALF])
@pytest.mark.parametrize('channels', [1, 10, 20, 36])
@torch.no_grad()
def test_channels_that_are_added_pass_through_exactly(channels, dtype):
    conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False).requires_grad_(False)
    wide = channels + 6
    weight, bias = PackedConv(conv).weights_in(dtype, wide)
    assert bias is None and weight.dtype == dtype and weight.is_contiguous(memory_format=torch.channels_last)
    x = torch.randn(1, wide, 5, 7).to(dtype)
    # In float64, so that the kind of the CPU's convolution in half precision doesn't matter.
    out = nn.functional.conv2d(x.double(), weight.double(), padding=1)
    assert torch.equal(out[:, channels:].to(dtype), x[:, channels:])
    expected = nn.functional.conv2d(x[:, :channels].double(), conv.weight.to(dtype).double(), padding=1)
    assert torch.allclose(out[:, :channels], expected)


def convolved_channels(dtype: torch.dtype, arch: str) -> int:
    """Channels of the first PConv's weight as the products take it."""
    fast = optimize_for_inference(FasterNet(arch).eval()).to(dtype)
    with torch.no_grad(), patch.object(cuda.F, 'conv2d', side_effect=RuntimeError) as conv2d:
        block = fast.stages[0].blocks[0]
        with pytest.raises(RuntimeError):
            cuda._mix(torch.rand(1, block.expand.conv.in_channels, 4, 4, dtype=dtype), block.partial_conv3)
    return conv2d.call_args.args[1].shape[0]


@pytest.mark.parametrize('arch, half', [('t0', 16), ('t1', 16), ('t2', 24), ('m', 40)])
def test_channels_are_added_in_half_precision_alone(arch, half):
    assert [convolved_channels(dtype, arch) for dtype in HALF] == [half, half]
    assert convolved_channels(torch.float32, arch) == FasterNet(arch).stages[0].blocks[0].spatial_mixing.conv_channels


@torch.no_grad()
def test_prepared_weights_follow_the_weights():
    model = trained(arch=SLIM)
    fast = optimize_for_inference(model).bfloat16()
    image = torch.rand(1, 3, 64, 64, dtype=torch.bfloat16)
    with OnGpu(products=True):
        before = fast(image)
        assert any(conv.packed for conv in fast.modules() if isinstance(conv, PackedConv))
        for same in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
            assert not any(conv.packed for conv in same.modules() if isinstance(conv, PackedConv))
            assert all(torch.equal(a, b) for a, b in zip(same(image), before, strict=True))
        other = trained(arch=SLIM)
        for parameter in other.parameters():
            parameter.data.mul_(1.5)
        other = optimize_for_inference(other)
        expected = copy.deepcopy(other).bfloat16()(image)
        fast.load_state_dict(other.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(fast(image), expected, strict=True))
        # Rounded once more: to bfloat16 and then to float64, not from what was packed.
        assert difference(fast.double()(image.double()), before) > 0.1
        assert difference(fast(image.double()), expected) < 0.05


# The choice of a form.


def fake(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    with FakeTensorMode():
        return torch.empty(1, 40, 8, 8, device='cuda', dtype=dtype)


@needs_fake_cuda
def test_products_in_float32_need_one_precision_for_all():
    assert all(cuda.has_products_for(fake(dtype)) for dtype in (*HALF, torch.float64))
    for tf32, chosen in {(True, True): True, (False, False): True, (True, False): False, (False, True): False}.items():
        with patch.object(cuda, 'allowed_tf32', lambda tf32=tf32: tf32):
            assert cuda.has_products_for(fake()) == chosen
    assert not cuda.has_products_for(torch.empty(1, 40, 8, 8))


@needs_fake_cuda
@pytest.mark.parametrize('place, name', [(packed, '_is_compiling'), (torch.jit, 'is_tracing')])
def test_compilers_and_tracers_see_convolutions(place, name, monkeypatch):
    x = fake(torch.float16)
    assert cuda.has_products_for(x)
    monkeypatch.setattr(place, name, lambda: True)
    assert not cuda.has_products_for(x)


SETTINGS = {
    'pass': (True, False),
    'cudnn.allow_tf32 = False': (False, False),
    'matmul.allow_tf32 = True': (True, True),
    'torch.set_float32_matmul_precision("high")': (True, True),
}
if torch.__version__ >= '2.9':
    SETTINGS |= {
        'torch.backends.fp32_precision = cudnn.conv.fp32_precision = "ieee"': (False, False),
        'matmul.fp32_precision = "tf32"': (True, True),
        'cudnn.conv.fp32_precision = "ieee"; matmul.fp32_precision = "tf32"': (False, True),
    }
# Not all settings can be undone, so each is made in a process of its own.
SETTER = """
import os, sys, torch
from mmfasternet.deploy.cuda import allowed_tf32
cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
for code in sys.argv[1:]:
    if os.fork() == 0:
        exec(code)
        print(*allowed_tf32(), flush=True)
        os._exit(0)
    os.wait()
"""


def test_settings_of_tf32_in_every_version_of_torch():
    lines = succeed(sys.executable, '-c', SETTER, *SETTINGS).stdout.splitlines()
    assert dict(zip(SETTINGS, lines, strict=True)) == {code: f'{a} {b}' for code, (a, b) in SETTINGS.items()}


# Fake CUDA: devices, types, strides; and an ``.item()``, which waits for the GPU, raises.


def check_maps(maps, dtype, channels, memory_format=torch.channels_last):
    for i, out in enumerate(maps):
        assert (out.device.type, out.dtype) == ('cuda', dtype)
        assert out.shape == (2, channels << i, 16 >> i, 24 >> i)
        assert out.is_contiguous(memory_format=memory_format)


@needs_fake_cuda
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('form', ['reference', 'folded', 'optimized'])
@pytest.mark.parametrize('arch', ARCHS)
@torch.no_grad()
def test_every_variant_on_cuda(arch, form, dtype):
    model = FasterNet(arch).eval()
    if form == 'folded':
        model, _, _ = fold_model(model, lambda network: network(torch.ones(1, 3, 32, 32)), arch)
    elif form == 'optimized':
        model = optimize_for_inference(model)
    mode = FakeTensorMode()
    gpu = to_fake_cuda(model, mode, dtype)
    with mode, patch.object(cuda, 'allowed_tf32', lambda: (True, True)):
        image = torch.empty(2, 3, 64, 96, device='cuda', dtype=dtype).contiguous(memory_format=torch.channels_last)
        check_maps(gpu(image), dtype, FasterNet.arch_settings[arch]['embed_dims'])


@needs_fake_cuda
@pytest.mark.parametrize('arguments', OPTIONS, ids=str)
@torch.no_grad()
def test_every_option_on_cuda(arguments):
    model = optimize_for_inference(FasterNet(**{'arch': SLIM, **arguments}).eval())
    mode = FakeTensorMode()
    for dtype in (torch.float32, torch.float16):
        gpu = to_fake_cuda(model, mode, dtype)
        with mode:
            maps = gpu(torch.empty(2, 3, 64, 96, device='cuda', dtype=dtype))
        check_maps(maps, dtype, maps[0].shape[1])


@needs_fake_cuda
@torch.no_grad()
def test_waiting_for_the_gpu_would_raise():
    mode = FakeTensorMode()
    with mode, pytest.raises(DataDependentOutputException):
        torch.empty(2, device='cuda').max().item()


@needs_fake_cuda
@pytest.mark.parametrize('optimized', [False, True])
@torch.no_grad()
def test_mask_rcnn_on_cuda(optimized, slim):
    init_default_scope('mmdet')
    detector = MODELS.build(Config.fromfile(slim).model).eval()
    detector = optimize_for_inference(detector) if optimized else detector
    mode = FakeTensorMode()
    for dtype in (torch.float32, torch.float16):
        gpu = to_fake_cuda(detector, mode, dtype)
        with mode:
            image = torch.empty(2, 3, 64, 96, device='cuda', dtype=dtype)
            maps = gpu.backbone(image)
            levels = gpu.neck(maps)
            scores, boxes = gpu.rpn_head(levels)
        if optimized:
            # mmcv's operators read memory as it lies.
            check_maps(maps, dtype, 40, torch.contiguous_format)
        assert all((out.device.type, out.dtype) == ('cuda', dtype) for out in (*levels, *scores, *boxes))


@needs_fake_cuda
@pytest.mark.parametrize('arguments', [{}, dict(norm_cfg=dict(type='LN')), dict(out_norm=False)], ids=str)
@torch.no_grad()
def test_autocast_casts_weights_once(arguments):
    model = FasterNet(SLIM, **arguments).eval()
    mode = FakeTensorMode()
    reference, fast = (to_fake_cuda(each, mode, torch.float32) for each in (model, optimize_for_inference(model)))
    for dtype in HALF:
        with mode, autocast_cuda(dtype):
            image = torch.empty(2, 3, 64, 96, device='cuda')
            assert [out.dtype for out in fast(image)] == [out.dtype for out in reference(image)]
            with torch.profiler.profile() as profile:
                fast(image)
        casts = sum(event.count for event in profile.key_averages() if event.key == 'aten::_to_copy')
        # Of the image; of feature maps, since autocast lets LN give float32; never of weights.
        assert casts == 1 if 'norm_cfg' not in arguments else casts <= 1 + 6 * 5 + 4


@needs_fake_cuda
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@torch.no_grad()
def test_exporting_sees_convolutions(dtype):
    mode = FakeTensorMode()
    for model in (FasterNet(SLIM).eval(), optimize_for_inference(FasterNet(SLIM).eval())):
        gpu = to_fake_cuda(model, mode, dtype)
        with mode:
            exported = torch.export.export(gpu, (torch.empty(2, 3, 64, 96, device='cuda', dtype=dtype),))
        names = [str(node.target) for node in exported.graph.nodes if node.op == 'call_function']
        assert sum(name.startswith('aten.conv2d') for name in names) == 1 + 3 + 3 * 5
        assert not any('addmm' in name for name in names)
