"""Launches and memory accesses of a block, as docs/deploy.md states them; no form may take more than it does now."""

import pytest
import torch
from helpers.fake_cuda import needs_fake_cuda
from helpers.project import ROOT
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mmfasternet import FasterNet
from mmfasternet.benchmark.gpu.launches import block_launches, count_launches, to_fake_cuda
from mmfasternet.deploy import optimize_for_inference

ARCHS = ('t0', 't1', 't2', 's', 'm', 'l')


@pytest.fixture(scope='module')
def forms():
    return block_launches()


def test_a_convolution_of_some_channels_copies_them_and_its_bias_is_a_kernel():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    whole, part = torch.empty(1, 4, 8, 8), torch.empty(1, 6, 8, 8, memory_format=torch.channels_last)[:, :4]
    assert dict(count_launches(conv, whole).kernels) == dict(convolution=1, bias=1)
    launches = count_launches(conv, part)
    assert dict(launches.kernels) == dict(copy=1, convolution=1, bias=1)
    assert launches.elements == 6 * 256 + conv.weight.numel() + 4


def test_only_a_sum_in_place_needs_no_copy():
    class Product(nn.Module):
        def __init__(self, in_place: bool) -> None:
            super().__init__()
            self.in_place = in_place

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.addmm_(x.clone(), x.t()) if self.in_place else torch.addmm(x, x, x)

    x = torch.empty(4, 4)
    assert dict(count_launches(Product(True), x).kernels) == dict(clone=1, addmm=1)
    assert dict(count_launches(Product(False), x).kernels) == dict(copy=1, addmm=1)


def test_views_and_allocations_launch_nothing():
    view = nn.Flatten(2)
    assert count_launches(view, torch.empty(1, 2, 3, 4)).count == 0


# Form → launches and units of a block with ReLU, and with GELU.
CEILINGS = {'convolutions': ((8, 20), (8, 20)), 'products': ((5, 10), (6, 14)), 'fused': ((1, 2), (1, 2))}


@needs_fake_cuda
@pytest.mark.parametrize('form', CEILINGS)
def test_a_block(forms, form):
    for act, (launches, units) in zip(('ReLU', 'GELU'), CEILINGS[form], strict=True):
        if (form, act) not in forms:
            pytest.skip('Triton is not installed')
        found = forms[form, act]
        assert (found.launches, round(found.units, 1)) == (launches, units)


@needs_fake_cuda
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('arch', ARCHS)
@torch.no_grad()
def test_the_optimized_network_never_launches_more_than_the_reference(arch, dtype):
    model, mode = FasterNet(arch).eval(), FakeTensorMode()
    reference, fast = (to_fake_cuda(network, mode, dtype) for network in (model, optimize_for_inference(model)))
    with mode:
        image = torch.empty(1, 3, 224, 224, device='cuda', dtype=dtype).contiguous(memory_format=torch.channels_last)
        theirs, ours = count_launches(reference, image), count_launches(fast, image)
    saved = (2 if arch in ('t0', 't1') else 3) * sum(FasterNet.arch_settings[arch]['depths'])
    assert ours.count == theirs.count - (saved if dtype == torch.float16 else 0)
    assert ours.elements <= 1.001 * theirs.elements


@needs_fake_cuda
@pytest.mark.parametrize('page', ['deploy.md', 'deploy.zh.md'])
def test_the_page_states_what_is_counted(forms, page):
    text = (ROOT / 'docs' / page).read_text(encoding='utf-8')
    for (_, act), found in forms.items():
        assert f'| {act} | {found.launches} | {found.units:.1f} |' in text
