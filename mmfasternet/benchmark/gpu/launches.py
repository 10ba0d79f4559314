"""How many kernels a forward launches on a GPU, and what they read and write, counted without a GPU."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ['Launches', 'count_launches']


@dataclass
class Launches:
    """What a forward launches.

    Args:
        kernels: Kind of kernel → how often it is launched.
        elements: Elements that all kernels read and write, weights included.

    Example:
        >>> Launches(Counter(convolution=2, bias=1), 100).count
        3
    """

    kernels: Counter = field(default_factory=Counter)
    elements: int = 0

    @property
    def count(self) -> int:
        """Number of launches."""
        return self.kernels.total()


@torch.no_grad()
def count_launches(module: nn.Module, image: Tensor) -> Launches:
    """Count the kernels that a forward launches in eager mode, and the elements that they read and write.

    These are torch's operators without those that only make views, and what CUDA's operators launch besides: cuDNN's
    convolution copies an input that is no complete map, and its bias is a kernel of its own; a product that adds a
    matrix copies that first unless it does so in place (torch up to 2.11). What a library launches inside an operator,
    such as a transposition, is not known here. It is no time: it says what to measure.

    Args:
        module: A model in evaluation mode, on any device. Fake CUDA tensors show what a GPU would be asked for.
        image: What its forward takes, on the same device.

    Returns:
        The kernels and elements. A block of FasterNet is best given a large map, so that its weights hardly count.

    Example:
        >>> conv = nn.Conv2d(3, 8, 3, padding=1)
        >>> launches = count_launches(nn.Sequential(conv, nn.ReLU()), torch.empty(1, 3, 4, 4))
        >>> dict(launches.kernels), launches.count
        ({'convolution': 1, 'bias': 1, 'relu': 1}, 3)
    """
    # The first call prepares weights.
    module(image)
    with _Counting() as counting:
        module(image)
    return counting.launches


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.launches = Launches()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for kernel, elements in _kernels(func, args, out):
            self.launches.kernels[kernel] += 1
            self.launches.elements += elements
        return out


def _kernels(func: Any, args: tuple, out: Any) -> Iterator[tuple[str, int]]:
    """The kernels of an operator, and the elements that each reads and writes."""
    name = func.name().partition('::')[2].partition('.')[0].strip('_')
    if func.namespace == 'prim' or func.is_view or name in _SILENT:
        return
    inputs, outputs = _tensors(args), _tensors((out,))
    if name == 'convolution':
        x, weight, bias = args[:3]
        if not _is_dense(x):
            yield 'copy', 2 * x.numel()
        yield name, x.numel() + weight.numel() + out.numel()
        if bias is not None:
            yield 'bias', 2 * out.numel() + bias.numel()
        return
    if name == 'addmm' and args[0].dim() == 2 and out is not args[0]:
        yield 'copy', 2 * args[0].numel()
    # What is copied into or filled is not read.
    read = inputs[1:] if name in ('copy', 'fill', 'zero') else inputs
    yield name, sum(tensor.numel() for tensor in (*read, *outputs))


# They allocate, or give their argument as it is.
_SILENT = ('empty', 'empty_like', 'empty_strided', 'new_empty', 'detach', 'alias', 'lift_fresh', 'unsafe_view')


def _tensors(values: Any) -> list[Tensor]:
    found = [value if isinstance(value, (list, tuple)) else [value] for value in values]
    return [value for values in found for value in values if isinstance(value, Tensor)]


def _is_dense(x: Tensor) -> bool:
    """Whether its elements lie together in memory, in whatever order."""
    return math.prod(x.shape) == 1 + sum((n - 1) * stride for n, stride in zip(x.shape, x.stride(), strict=True))
