"""PConv in other networks: their k×k convolutions become a PConv and a 1×1 convolution."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from .arguments import check_number
from .pconv import PConv, num_convolved

__all__ = ['Swapped', 'swap_convolutions']


class Swapped(NamedTuple):
    """A network with PConvs, and what became of its k×k convolutions.

    Attributes:
        model: The network, a copy. It is another function, and its new layers have random weights.
        swapped: Names of the convolutions that were swapped.
        left: Name of a convolution that was not → why.
    """

    model: nn.Module
    swapped: list[str]
    left: dict[str, str]


def swap_convolutions(model: nn.Module, partial_ratio: float = 1 / 4) -> Swapped:
    """Swap the k×k convolutions of a network for a PConv and a 1×1 convolution, in a copy.

    ::

        k×k convolution, c to d channels  →  PConv k×k of c channels ─ 1×1 convolution, c to d channels

    *Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks*, CVPR 2023, https://arxiv.org/abs/2303.03667,
    section 3.3; nothing stands between the two layers. A convolution is swapped if it has stride 1, one group, a square
    odd kernel, zero padding that keeps height and width, and more weights than the two. The others stay.

    The new network is another function until it is trained. Its new layers start from He's initialization, which keeps
    the size of values without a norm too; all others keep their weights.

    Args:
        model: Any network of PyTorch; it stays as it is.
        partial_ratio: Share of the channels that each PConv convolves, in (0, 1]. Defaults to 1/4.

    Returns:
        The new network, the names of the swapped convolutions, and the others with the reason for each.

    Raises:
        ValueError: If the ratio is outside (0, 1].
        TypeError: If the ratio is not a number.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, stride=2, padding=1))
        >>> found = swap_convolutions(net)
        >>> found.swapped, found.left
        (['0'], {'2': 'stride 2'})
        >>> found.model[0]
        Sequential(
          (0): PConv(
            channels=16, convolved=4
            (partial_conv3): Conv2d(4, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
          )
          (1): Conv2d(16, 32, kernel_size=(1, 1), stride=(1, 1))
        )
    """
    check_number('partial_ratio', partial_ratio)
    if not 0 < partial_ratio <= 1:
        raise ValueError(f'partial_ratio must be in (0, 1], but got {partial_ratio}')
    model = copy.deepcopy(model)
    swapped, left, made = [], {}, {}
    # With duplicates, since a convolution may stand in two places; the list, since the network changes on the way.
    for name, conv in list(model.named_modules(remove_duplicate=False)):
        if not isinstance(conv, nn.Conv2d) or max(conv.kernel_size) == 1:
            continue
        if reason := next(_reasons(name, conv, partial_ratio), None):
            left[name] = reason
            continue
        if conv not in made:
            made[conv] = _replacement(conv, partial_ratio)
        swapped.append(name)
        if not name:
            model = made[conv]
        else:
            parent, _, child = name.rpartition('.')
            setattr(model.get_submodule(parent), child, made[conv])
    return Swapped(model, swapped, left)


def _reasons(name: str, conv: nn.Conv2d, partial_ratio: float) -> Iterator[str]:
    """Why a convolution is left; nothing if it is swapped."""
    height, width = conv.kernel_size
    # The name is the authors', and timm's; a convolution of a part of the channels need not be made one again.
    if name.rpartition('.')[2] == 'partial_conv3':
        yield 'part of a PConv'
    if type(conv) is not nn.Conv2d:
        yield f'{type(conv).__name__}, another layer than Conv2d'
    if conv.groups > 1:
        yield 'depthwise' if conv.groups == conv.in_channels else f'{conv.groups} groups'
    if max(conv.stride) > 1:
        yield f'stride {" × ".join(map(str, dict.fromkeys(conv.stride)))}'
    if height != width or height % 2 == 0 or conv.dilation[0] != conv.dilation[1]:
        yield f'kernel {height} × {width}, not odd and square'
    same = conv.dilation[0] * (height - 1) // 2
    if conv.padding not in ('same', (same, same)) or conv.padding_mode != 'zeros':
        yield f'padding {conv.padding} ({conv.padding_mode}), which PConv lacks'
    if conv.in_channels * partial_ratio < 1:
        yield f'{conv.in_channels} input channels, too few for a ratio of {partial_ratio:g}'
    else:
        convolved = num_convolved(conv.in_channels, partial_ratio)
        new = convolved**2 * height * width + conv.in_channels * conv.out_channels
        if new >= conv.weight.numel():
            yield f'{conv.out_channels} output channels: a PConv and a 1×1 would cost no less'


def _replacement(conv: nn.Conv2d, partial_ratio: float) -> nn.Sequential:
    """A PConv and a 1×1 convolution, where a convolution is, in its mode."""
    layers = nn.Sequential(
        PConv(conv.in_channels, partial_ratio, conv.kernel_size[0], conv.dilation[0]),
        nn.Conv2d(conv.in_channels, conv.out_channels, 1, bias=conv.bias is not None),
    )
    # Between the two is no activation, after the second usually one.
    nn.init.kaiming_normal_(layers[0].partial_conv3.weight, nonlinearity='linear')
    nn.init.kaiming_normal_(layers[1].weight, nonlinearity='relu')
    layers = layers.to(conv.weight.device, conv.weight.dtype).train(conv.training)
    return layers.requires_grad_(conv.weight.requires_grad)
