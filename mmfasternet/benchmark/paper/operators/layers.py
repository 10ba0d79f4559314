"""The operators of the paper's Table 1, and those that they are compared with: costs, and ten layers of each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmfasternet.models.pconv import PConv, num_convolved

from .costs import (
    Cost,
    conv_cost,
    dwconv_cost,
    dwconv_pwconv_cost,
    pconv_cost,
    pconv_pwconv_cost,
    tconv_cost,
    width_for,
)

__all__ = ['LAYERS', 'OPERATORS', 'SIZES', 'Operator', 'Size', 'build_layers', 'operators_at']

LAYERS = 10
GROUPS = 16
PARTIAL_RATIO = 1 / 4
# The largest input of a layer, in elements: 256 MiB.
LARGEST = 2**26


@dataclass(frozen=True)
class Size:
    """Channels c of a map, and its height and width in pixels."""

    channels: int
    pixels: int

    @property
    def convolved(self) -> int:
        """Channels c_p that a PConv convolves."""
        return num_convolved(self.channels, PARTIAL_RATIO)

    def of(self, cost: Callable[..., Cost], *arguments: int) -> Cost:
        """A cost at this height and width."""
        return cost(*arguments, self.pixels, self.pixels)


SIZES = (Size(96, 56), Size(192, 28), Size(384, 14), Size(768, 7))


class InPlacePConv(nn.Module):
    """A PConv that writes over the channels it convolves; the same where nobody else holds the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pconv = PConv(channels, PARTIAL_RATIO)

    def forward(self, x: Tensor) -> Tensor:
        convolved = x[:, : self.pconv.conv_channels]
        convolved.copy_(self.pconv.partial_conv3(convolved))
        return x


class TConv(nn.Module):
    """The T-shaped convolution: 3×3 over the first channels and 1×1 over the others, to all channels (Fig. 5)."""

    def __init__(self, channels: int, convolved: int) -> None:
        super().__init__()
        self.split = [convolved, channels - convolved]
        self.spatial = nn.Conv2d(convolved, channels, 3, padding=1, bias=False)
        self.pointwise = nn.Conv2d(channels - convolved, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        convolved, others = torch.split(x, self.split, dim=1)
        return self.spatial(convolved).add_(self.pointwise(others))


class Layers(nn.Sequential):
    """Layers in a row, whose input stays as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clone() if isinstance(self[0], InPlacePConv) else x)


def conv(channels: int, groups: int = 1) -> nn.Module:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)


def with_pwconv(layer: nn.Module, channels: int) -> nn.Module:
    return nn.Sequential(layer, nn.Conv2d(channels, channels, 1, bias=False))


def flops_to_match(size: Size) -> int:
    """Multiply-adds of the PConv and PWConv that the widened operators are compared with."""
    return size.of(pconv_pwconv_cost, size.channels, size.convolved).flops


@dataclass(frozen=True)
class Operator:
    """An operator of the study.

    Args:
        name: What records and the paper's Table 1 call it.
        label: What tables and plots call it.
        cost: Size and width → what a layer costs.
        build: Size and width → a layer.
        width: Size → channels of the layer. Defaults to those of the size.
    """

    name: str
    label: str
    cost: Callable[[Size, int], Cost]
    build: Callable[[Size, int], nn.Module]
    width: Callable[[Size], int] = lambda size: size.channels


OPERATORS = (
    Operator('conv3x3', 'Conv', lambda size, c: size.of(conv_cost, c), lambda size, c: conv(c)),
    Operator(
        'gconv3x3_16groups',
        'GConv',
        lambda size, c: conv_cost(c, size.pixels, size.pixels, groups=GROUPS),
        lambda size, c: conv(c, GROUPS),
    ),
    Operator('dwconv3x3', 'DWConv', lambda size, c: size.of(dwconv_cost, c), lambda size, c: conv(c, c)),
    Operator(
        'pconv3x3_ratio1/4',
        'PConv',
        lambda size, c: size.of(pconv_cost, size.convolved),
        lambda size, c: PConv(c, PARTIAL_RATIO),
    ),
    Operator(
        'pconv3x3_in_place',
        'PConv in place',
        lambda size, c: size.of(pconv_cost, size.convolved),
        lambda size, c: InPlacePConv(c),
    ),
    Operator(
        'pconv_pwconv',
        'PConv + PWConv',
        lambda size, c: size.of(pconv_pwconv_cost, c, size.convolved),
        lambda size, c: with_pwconv(PConv(c, PARTIAL_RATIO), c),
    ),
    Operator(
        'dwconv_pwconv_widened',
        'DWConv + PWConv, widened',
        lambda size, c: size.of(dwconv_pwconv_cost, c),
        lambda size, c: with_pwconv(conv(c, c), c),
        lambda size: width_for(flops_to_match(size), lambda c: size.of(dwconv_pwconv_cost, c).flops),
    ),
    Operator(
        'dwconv_widened',
        'DWConv alone, widened',
        lambda size, c: size.of(dwconv_cost, c),
        lambda size, c: conv(c, c),
        lambda size: width_for(flops_to_match(size), lambda c: size.of(dwconv_cost, c).flops),
    ),
    Operator(
        'tconv',
        'T-shaped Conv',
        lambda size, c: size.of(tconv_cost, c, size.convolved),
        lambda size, c: TConv(c, size.convolved),
    ),
)


def operators_at(size: Size, batch: int) -> list[Operator]:
    """The operators that are timed: all but those whose maps are larger than 256 MiB.

    Args:
        size: Of the maps.
        batch: Maps at once.

    Returns:
        The operators; a DWConv widened alone is not among them where a batch is large.

    Example:
        >>> len(operators_at(SIZES[0], 1)) - len(operators_at(SIZES[0], 32))
        1
    """
    return [operator for operator in OPERATORS if batch * operator.width(size) * size.pixels**2 <= LARGEST]


def build_layers(operator: Operator, size: Size) -> nn.Module:
    """Ten layers of an operator, without norms and activations.

    Args:
        operator: Which.
        size: Of its map.

    Returns:
        The layers, with random weights that keep the variance of maps, in evaluation mode.

    Example:
        >>> build_layers(OPERATORS[3], Size(96, 56))(torch.rand(1, 96, 56, 56)).shape
        torch.Size([1, 96, 56, 56])
    """
    torch.manual_seed(0)
    model = Layers(*(operator.build(size, operator.width(size)) for _ in range(LAYERS)))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # Maps that fade away would end in denormal numbers, which CPUs are slow with.
            nn.init.kaiming_normal_(module.weight, nonlinearity='linear')
    return model.eval().requires_grad_(False)
