"""The operators of the paper's Table 1, and those that they are compared with: costs, and ten layers of each."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmfasternet.benchmark.paper.width import width_for
from mmfasternet.models.pconv import PConv, num_convolved

from .costs import Cost, conv_cost, dwconv_cost, pconv_cost, pwconv_cost, tconv_cost

__all__ = ['LAYERS', 'OPERATORS', 'SIZES', 'Operator', 'Size', 'TConv', 'build_layers', 'operators_at']

LAYERS = 10
_GROUPS = 16
_PARTIAL_RATIO = 1 / 4
# The largest input of a layer, in elements: 256 MiB.
_LARGEST = 2**26


@dataclass(frozen=True)
class Size:
    """Size of a feature map: its channels c, and its height and width in pixels."""

    channels: int
    pixels: int

    @property
    def convolved(self) -> int:
        """Channels c_p that a PConv convolves."""
        return num_convolved(self.channels, _PARTIAL_RATIO)

    @property
    def shape(self) -> tuple[int, int]:
        """Its height and width."""
        return self.pixels, self.pixels


SIZES = (Size(96, 56), Size(192, 28), Size(384, 14), Size(768, 7))


class _InPlacePConv(PConv):
    """A PConv that writes over the channels that it convolves, for a feature map that nothing else uses."""

    forward = PConv.convolve_in_place


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


class _Layers(nn.Sequential):
    """Layers in sequence, whose input stays as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clone() if isinstance(self[0], _InPlacePConv) else x)


def _conv(channels: int, groups: int = 1) -> nn.Module:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)


# Layer → what one costs, and one of it, both at a size and a width.
_KINDS: dict[str, tuple[Callable[[Size, int], Cost], Callable[[Size, int], nn.Module]]] = dict(
    conv=(lambda size, c: conv_cost(c, *size.shape), lambda size, c: _conv(c)),
    gconv=(lambda size, c: conv_cost(c, *size.shape, groups=_GROUPS), lambda size, c: _conv(c, _GROUPS)),
    dwconv=(lambda size, c: dwconv_cost(c, *size.shape), lambda size, c: _conv(c, c)),
    pconv=(lambda size, c: pconv_cost(size.convolved, *size.shape), lambda size, c: PConv(c, _PARTIAL_RATIO)),
    in_place=(
        lambda size, c: pconv_cost(size.convolved, *size.shape),
        lambda size, c: _InPlacePConv(c, _PARTIAL_RATIO),
    ),
    tconv=(lambda size, c: tconv_cost(c, size.convolved, *size.shape), lambda size, c: TConv(c, size.convolved)),
    pwconv=(lambda size, c: pwconv_cost(c, *size.shape), lambda size, c: nn.Conv2d(c, c, 1, bias=False)),
)


@dataclass(frozen=True)
class Operator:
    """One layer or two, in records and in Table 1 called ``name``; widened, it has the FLOPs of PConv + PWConv."""

    name: str
    label: str
    kinds: tuple[str, ...]
    is_widened: bool = False

    def cost(self, size: Size, width: int) -> Cost:
        """What it costs."""
        first, *others = (_KINDS[kind][0](size, width) for kind in self.kinds)
        return sum(others, first)

    def width(self, size: Size) -> int:
        """Its channels."""
        if not self.is_widened:
            return size.channels
        target = pconv_cost(size.convolved, *size.shape) + pwconv_cost(size.channels, *size.shape)
        return width_for(target.flops, lambda width: self.cost(size, width).flops)


OPERATORS = (
    Operator('conv3x3', 'Conv', ('conv',)),
    Operator('gconv3x3_16groups', 'GConv', ('gconv',)),
    Operator('dwconv3x3', 'DWConv', ('dwconv',)),
    Operator('pconv3x3_ratio1/4', 'PConv', ('pconv',)),
    Operator('pconv3x3_in_place', 'PConv in place', ('in_place',)),
    Operator('pconv_pwconv', 'PConv + PWConv', ('pconv', 'pwconv')),
    Operator('dwconv_pwconv_widened', 'DWConv + PWConv, widened', ('dwconv', 'pwconv'), is_widened=True),
    Operator('dwconv_widened', 'DWConv alone, widened', ('dwconv',), is_widened=True),
    Operator('tconv', 'T-shaped Conv', ('tconv',)),
)


def operators_at(size: Size, batch: int) -> list[Operator]:
    """The operators that are timed: all but those whose input takes more than 256 MiB."""
    return [operator for operator in OPERATORS if batch * operator.width(size) * size.pixels**2 <= _LARGEST]


def build_layers(operator: Operator, size: Size) -> nn.Module:
    """Ten layers of an operator without norms and activations, with random weights that keep the variance of maps."""
    torch.manual_seed(0)
    width = operator.width(size)
    model = _Layers(*(_KINDS[kind][1](size, width) for _ in range(LAYERS) for kind in operator.kinds))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # Values that vanish would end in denormal numbers, which are slow on CPUs.
            nn.init.kaiming_normal_(module.weight, nonlinearity='linear')
    return model.eval().requires_grad_(False)
