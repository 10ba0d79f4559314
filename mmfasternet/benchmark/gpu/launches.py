"""How many kernels a forward launches on a GPU, and what they read and write, counted without a GPU."""

import copy
import importlib.util
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmfasternet.deploy import optimize_for_inference
from mmfasternet.deploy.fold import fold_model
from mmfasternet.models import FasterNet

__all__ = ['BlockLaunches', 'Launches', 'block_launches', 'count_launches', 'to_fake_cuda']

# Channels of the block that is counted: of T1, which half precision needs no other channels for.
_CHANNELS = 64


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
    matrix copies that first unless it does so in place, which only the newest versions of torch avoid. What a library
    launches inside an operator, such as a transposition, is not known here.

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


class BlockLaunches(NamedTuple):
    """What a block takes.

    Attributes:
        launches: Kernels that it launches.
        units: What they read and write, in feature maps of the block; weights are negligible.
    """

    launches: int
    units: float


def block_launches() -> dict[tuple[str, str], BlockLaunches]:
    """Count what a block of FasterNet takes on CUDA in half precision, in each form; this needs no GPU.

    Returns:
        Form and activation → what it takes. 'convolutions' is the plain network with folded norms, 'products' what
        :func:`~mmfasternet.deploy.optimize_for_inference` makes of it, and 'fused' the candidate in Triton, which is
        left out where Triton is not installed.

    Example:
        >>> found = block_launches()['products', 'ReLU']
        >>> found.launches, round(found.units, 1)
        (5, 10.0)
    """
    counted = {}
    for act in ('ReLU', 'GELU'):
        arch = dict(embed_dims=_CHANNELS, depths=(1, 0, 0, 0), act_cfg=dict(type=act))
        model = FasterNet(arch, out_indices=(0,)).eval()
        optimized = optimize_for_inference(model)
        folded, _, _ = fold_model(model, lambda network: network(torch.ones(1, 3, 32, 32)), 'FasterNet')
        forms = dict(convolutions=folded, products=optimized)
        if importlib.util.find_spec('triton'):
            # Imported here, since the others are counted without Triton.
            from .triton_block import with_fused_blocks

            forms['fused'] = with_fused_blocks(optimized)
        for form, network in forms.items():
            counted[form, act] = _block_launches(network)
    return counted


def _block_launches(network: nn.Module) -> BlockLaunches:
    mode = FakeTensorMode()
    block = to_fake_cuda(network, mode, torch.float16).stages[0].blocks[0]
    with mode:
        x = torch.empty(1, _CHANNELS, 1024, 1024, device='cuda', dtype=torch.float16)
        x = x.contiguous(memory_format=torch.channels_last)
        launches = count_launches(block, x)
    return BlockLaunches(launches.count, launches.elements / x.numel())


def to_fake_cuda(model: nn.Module, mode: FakeTensorMode, dtype: torch.dtype) -> nn.Module:
    """Copy a model to a GPU that does not exist, where tensors have a device, type, shape and strides but no values.

    Args:
        model: A model on the CPU; it stays as it is.
        mode: The mode that its forward will be called in, with an image made in the same.
        dtype: Type of the weights.

    Returns:
        The copy, channels_last.

    Example:
        >>> mode = FakeTensorMode()
        >>> conv = to_fake_cuda(nn.Conv2d(3, 8, 3), mode, torch.float16)
        >>> with mode:
        ...     conv(torch.empty(1, 3, 8, 8, device='cuda', dtype=torch.float16)).device.type
        'cuda'
    """
    model = copy.deepcopy(model).to(dtype, memory_format=torch.channels_last)
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    fake = mode.from_tensor(tensor.detach())
                    with mode:
                        fake = fake.to('cuda')
                    tensors[name] = nn.Parameter(fake, False) if tensors is module._parameters else fake
    return model


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
