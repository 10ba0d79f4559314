"""Convolutions that PConv and 1×1 can stand for are swapped, and all others stay as they are, with the reason."""

import re

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmfasternet import FasterNet, PConv
from mmfasternet.models.swap import swap_convolutions


class Block(nn.Module):
    """A residual block whose two convolutions are one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.second = self.first
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        return x + self.second(self.norm(self.first(x)))


def weights(model: nn.Module) -> dict:
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize('options', [dict(), dict(dilation=2), dict(bias=False), dict(padding='same')])
@pytest.mark.parametrize('kernel', [3, 5])
def test_a_convolution_becomes_what_the_paper_says(kernel, options):
    options = dict(padding=kernel // 2 * options.get('dilation', 1)) | options
    found = swap_convolutions(nn.Sequential(nn.Conv2d(16, 24, kernel, **options)))
    pconv, pointwise = found.model[0]
    assert found.swapped == ['0'] and found.left == {}
    assert isinstance(pconv, PConv) and pconv.conv_channels == 4
    assert pconv.partial_conv3.kernel_size == (kernel, kernel)
    assert pconv.partial_conv3.dilation[0] == options.get('dilation', 1)
    assert pointwise.weight.shape == (24, 16, 1, 1) and (pointwise.bias is None) == (options.get('bias') is False)
    x = torch.rand(2, 16, 9, 11)
    # By hand: the first channels are convolved, the others pass, and all are mixed.
    mixed = torch.cat([pconv.partial_conv3(x[:, :4]), x[:, 4:]], 1)
    expected = torch.einsum('nchw,dc->ndhw', mixed, pointwise.weight[:, :, 0, 0])
    expected += 0 if pointwise.bias is None else pointwise.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(found.model(x), expected, atol=1e-5, rtol=1e-5)


REASONS = {
    'stride 2': nn.Conv2d(8, 8, 3, stride=2, padding=1),
    'depthwise': nn.Conv2d(8, 8, 3, padding=1, groups=8),
    '2 groups': nn.Conv2d(8, 8, 3, padding=1, groups=2),
    'kernel 1 × 7': nn.Conv2d(8, 8, (1, 7), padding=(0, 3)),
    'kernel 2 × 2': nn.Conv2d(8, 8, 2),
    r'padding \(0, 0\)': nn.Conv2d(8, 8, 3),
    'reflect': nn.Conv2d(8, 8, 3, padding=1, padding_mode='reflect'),
    '3 input channels, too few for a ratio of 0.25': nn.Conv2d(3, 8, 3, padding=1),
    '2 output channels: .* cost no less': nn.Conv2d(64, 2, 3, padding=1),
    'Own, another layer than Conv2d': type('Own', (nn.Conv2d,), {})(8, 8, 3, padding=1),
    'Parametrized.*, another layer': nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1)),
}


@pytest.mark.parametrize(('reason', 'layer'), REASONS.items(), ids=REASONS)
def test_what_is_left_says_why(reason, layer):
    model = nn.Sequential(layer)
    found = swap_convolutions(model)
    assert found.swapped == [] and list(found.left) == ['0']
    assert re.search(reason, found.left['0'])
    before, after = weights(model), weights(found.model)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_layers_without_a_kernel_are_not_listed():
    found = swap_convolutions(nn.Sequential(nn.Conv2d(8, 8, 1), nn.Linear(8, 8), nn.ConvTranspose2d(8, 8, 3)))
    assert found.swapped == [] and found.left == {}


def test_a_fasternet_is_left_as_it_is():
    found = swap_convolutions(FasterNet(dict(embed_dims=16, depths=(1, 1, 1, 1))))
    assert found.swapped == [] and set(found.left.values()) == {'part of a PConv', 'stride 4', 'stride 2'}


def test_the_model_stays_and_the_copy_keeps_the_other_weights():
    model = nn.Sequential(Block(), nn.Conv2d(8, 4, 1))
    before = weights(model)
    found = swap_convolutions(model)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    kept = found.model.state_dict()
    for key in ('0.norm.weight', '0.norm.running_var', '1.weight', '1.bias'):
        assert torch.equal(kept[key], before[key])


def test_a_convolution_in_two_places_stays_one():
    found = swap_convolutions(Block())
    assert found.swapped == ['first', 'second'] and found.model.first is found.model.second
    assert found.model(torch.rand(1, 8, 6, 6)).shape == (1, 8, 6, 6)


def test_a_bare_convolution():
    found = swap_convolutions(nn.Conv2d(8, 8, 3, padding=1))
    assert found.swapped == [''] and isinstance(found.model[0], PConv)


def test_dtype_mode_and_gradients_are_those_of_the_convolution():
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1)).double().eval().requires_grad_(False)
    new = swap_convolutions(model).model
    assert {value.dtype for value in new.parameters()} == {torch.float64}
    assert not new[0].training and not any(value.requires_grad for value in new.parameters())


def test_the_multiply_adds_are_those_of_equation_4():
    conv = nn.Conv2d(32, 48, 3, padding=1, bias=False)
    with FlopCounterMode(display=False) as counter:
        swap_convolutions(conv).model(torch.rand(1, 32, 10, 12))
    assert counter.get_total_flops() // 2 == 10 * 12 * (9 * 8 * 8 + 32 * 48)


@pytest.mark.parametrize('ratio', [0, 1.5, -1])
def test_a_ratio_out_of_range(ratio):
    with pytest.raises(ValueError, match='partial_ratio must be'):
        swap_convolutions(nn.Conv2d(8, 8, 3), ratio)


def test_a_swapped_network_learns():
    torch.manual_seed(0)
    model = swap_convolutions(
        nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 3, padding=1))
    ).model
    x = torch.rand(8, 4, 8, 8)
    target = x.roll(1, 3)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=1e-2), []
    for _ in range(60):
        loss = (model(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
