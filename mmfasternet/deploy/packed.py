"""A convolution that keeps its weights the way oneDNN wants them."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ['PackedConv', 'is_packed_for']

# oneDNN's names of activations that it can apply while a result is still in registers.
FUSED = {nn.ReLU: 'relu', nn.GELU: 'gelu'}
# Sizes of input that weights are kept for: the tiles of a map, and the rest that is left at its end.
KEPT = 2

HAS_ONEDNN = torch.backends.mkldnn.is_available()
# torch 2.1 doesn't have it.
is_compiling = getattr(torch.compiler, 'is_compiling', lambda: False)


def is_packed_for(x: Tensor) -> bool:
    """Whether a :class:`PackedConv` uses oneDNN's own form of its weights for this input.

    Args:
        x: A map.

    Returns:
        True for float32 on the CPU outside autocast, tracing and compiling, where torch has oneDNN.
    """
    return (
        # First, since the compiler can't look into some of the others.
        not is_compiling()
        and x.device.type == 'cpu'
        and x.dtype == torch.float32
        and HAS_ONEDNN
        and not torch._C._is_any_autocast_enabled()
        and not torch.jit.is_tracing()
    )


class PackedConv(nn.Module):
    """A convolution and its activation for inference, for which weights are reordered once and not in every call.

    On the CPU, torch's convolution copies its weights into oneDNN's blocked form each time. Which blocks are best
    depends on the size of the input and the number of threads: weights in another form than the chosen one are up to
    ten times slower than unpacked ones, so they are kept by both. Elsewhere this is an ordinary convolution.

    Args:
        conv: The convolution, without groups; its weights are shared.
        activation: What follows it. Defaults to None.

    Example:
        >>> import torch
        >>> conv = nn.Conv2d(8, 16, 1).eval().requires_grad_(False)
        >>> x = torch.rand(1, 8, 32, 32).contiguous(memory_format=torch.channels_last)
        >>> torch.allclose(PackedConv(conv, nn.ReLU())(x), conv(x).relu(), atol=1e-5)
        True
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.activation = activation
        is_exact = getattr(activation, 'approximate', 'none') == 'none'
        self.fused = FUSED.get(type(activation)) if is_exact else None
        self.packed: OrderedDict[tuple, Tensor] = OrderedDict()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and activate.

        Args:
            x: Map of shape (N, C, H, W), channels_last.

        Returns:
            A new map.
        """
        if not is_packed_for(x):
            out = self.conv(x)
            return F.relu_(out) if isinstance(self.activation, nn.ReLU) else self.activate(out)
        out = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight_for(x), *self.arguments(), self.fused or 'none', [], 'none'
        )
        return out if self.fused else self.activate(out)

    def add_to(self, out: Tensor, x: Tensor) -> None:
        """Convolve, and add the result to a map in place; the activation has no part in it.

        Args:
            out: Map to change, of the result's shape, channels_last.
            x: Map of shape (N, C, H, W), channels_last.
        """
        if is_packed_for(x):
            torch.ops.mkldnn._convolution_pointwise_.binary(
                out, x, self.weight_for(x), *self.arguments(), 'add', 1.0, None, [], None
            )
        else:
            out += self.conv(x)

    def activate(self, out: Tensor) -> Tensor:
        return out if self.activation is None else self.activation(out)

    def arguments(self) -> tuple:
        conv = self.conv
        return conv.bias, conv.padding, conv.stride, conv.dilation, 1

    def weight_for(self, x: Tensor) -> Tensor:
        """The weights in the form that is best for inputs like this one."""
        key = (*x.shape, torch.get_num_threads())
        if key in self.packed:
            self.packed.move_to_end(key)
        else:
            conv = self.conv
            self.packed[key] = torch.ops.mkldnn._reorder_convolution_weight(
                conv.weight, conv.padding, conv.stride, conv.dilation, 1, x.shape
            )
            if len(self.packed) > KEPT:
                self.packed.popitem(last=False)
        return self.packed[key]

    def _apply(self, fn, *args, **kwargs) -> 'PackedConv':  # noqa: ANN001
        # Other weights, other packed ones.
        self.packed.clear()
        return super()._apply(fn, *args, **kwargs)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self.packed.clear()
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict:
        # What is packed can be neither copied nor saved, and is made again.
        return {**self.__dict__, 'packed': OrderedDict()}
