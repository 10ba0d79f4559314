"""What PConv changes in a network: parameters, multiply-adds, latency and outputs, before and after."""

import difflib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mmfasternet.engine.build import backbone_of
from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError
from mmfasternet.models.swap import swap_convolutions

from .complexity import count_forward
from .paths import randomize_norms
from .turns import Clock, Contender, time_in_turns

__all__ = ['build_network', 'measure_swap']


def build_network(name: str) -> nn.Module:
    """Build a network by its name, with random weights; nothing is downloaded.

    Args:
        name: Of timm or, where timm has no such network, of torchvision's classifiers; or a config, whose backbone is
            built.

    Returns:
        The network in evaluation mode.

    Raises:
        UserError: If there is none of that name, or the config has none.

    Example:
        >>> type(build_network('configs/mask_rcnn_fasternet_t0.py')).__name__
        'FasterNet'
    """
    torch.manual_seed(0)
    model = backbone_of(load_config(name), name) if name.endswith('.py') else _build_by_name(name)
    # Residual blocks that start as the identity would hide what their convolutions compute.
    randomize_norms(model)
    # Not chained: ResNet of mmdet returns nothing from train().
    model.eval()
    return model


def _build_by_name(name: str) -> nn.Module:
    try:
        import timm
        import torchvision
    except ImportError as error:
        raise UserError(
            f"networks by their names need timm and torchvision ({error}): pip install 'mmfasternet[compare]'"
        ) from error
    if timm.is_model(name):
        return timm.create_model(name)
    others = torchvision.models.list_models(module=torchvision.models)
    if name in others:
        return torchvision.models.get_model(name, weights=None)
    near = difflib.get_close_matches(name, {*timm.list_models(), *others}, n=3)
    hint = f'did you mean {" or ".join(near)}?' if near else 'timm.list_models() lists those of timm.'
    raise UserError(f'{name!r} is no network of timm or torchvision, and no config (.py); {hint}')


def measure_swap(
    model: nn.Module, shape: tuple[int, int], partial_ratio: float, threads: int | None, rounds: int
) -> dict[str, Any]:
    """Compare a network to itself with PConvs.

    Args:
        model: Takes images of shape (1, 3, height, width), in evaluation mode; it stays as it is.
        shape: Height and width of the image in pixels.
        partial_ratio: Share of the channels that each PConv convolves, in (0, 1].
        threads: Threads of torch on the CPU. None takes no latencies.
        rounds: Turns of each network.

    Returns:
        The fields of a record of kind 'swap', see docs/records.md, that are no names.

    Raises:
        UserError: If the network does not take such images.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1))
        >>> found = measure_swap(net, (32, 32), 1 / 4, threads=None, rounds=1)
        >>> found['swapped'], found['left'], found['flops_before'], found['flops_after']
        (1, {'3 input channels, too few for a ratio of 0.25': 1}, 2801664, 851968)
    """
    torch.manual_seed(0)
    new, swapped, left = swap_convolutions(model, partial_ratio)
    image = torch.randn(1, 3, *shape)
    try:
        with torch.inference_mode():
            outputs = [list(_tensors(network(image))) for network in (model, new)]
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        reason = str(error).partition('\n')[0]
        raise UserError(f'the network takes no image of {shape[0]} × {shape[1]} pixels ({reason})') from error
    before, after = (count_forward(network, *shape) for network in (model, new))
    figures = dict(
        shape=list(shape),
        partial_ratio=partial_ratio,
        params_before=before['params'],
        params_after=after['params'],
        flops_before=before['flops_full'],
        flops_after=after['flops_full'],
        swapped=len(swapped),
        left=dict(Counter(left.values()).most_common()),
        max_difference=max(
            float((one - other).abs().max() / one.abs().max()) for one, other in zip(*outputs, strict=True)
        ),
    )
    if threads is None or not swapped:
        return figures
    contenders = dict(before=Contender('before', lambda: model(image)), after=Contender('after', lambda: new(image)))
    return figures | dict(threads=threads) | time_in_turns(contenders, Clock(), rounds, threads)


def _tensors(output: Any) -> Iterator[Tensor]:
    """The tensors in what a network returns."""
    if isinstance(output, Tensor):
        yield output
    else:
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)
