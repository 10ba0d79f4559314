"""A convolution that keeps its weights in the form that the device wants: oneDNN's own, or cast and widened."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ['PackedConv', 'as_rows', 'autocast_type', 'is_packed_for', 'is_product_faster', 'is_traced']

# oneDNN's names of the activations that it can apply while a result is still in registers.
_FUSED = {nn.ReLU: 'relu', nn.GELU: 'gelu'}
# Number of forms that are kept: for the tiles of a map, and for the smaller one at its end.
_KEPT = 2

_HAS_ONEDNN = torch.backends.mkldnn.is_available()
# torch 2.1 doesn't have it.
_is_compiling = getattr(torch.compiler, 'is_compiling', lambda: False)


def is_packed_for(x: Tensor) -> bool:
    """Whether a :class:`PackedConv` uses oneDNN's own form of its weights for this input.

    Args:
        x: Feature map of shape (N, C, H, W).

    Returns:
        True for float32 on the CPU outside autocast, tracing and compiling, if torch has oneDNN.

    Example:
        >>> is_packed_for(torch.rand(1, 3, 8, 8).half())
        False
    """
    return (
        # First, since the compiler can't trace some of the other conditions.
        not _is_compiling()
        and x.device.type == 'cpu'
        and x.dtype == torch.float32
        and _HAS_ONEDNN
        and not torch._C._is_any_autocast_enabled()
        and not torch.jit.is_tracing()
    )


def is_product_faster(channels: int) -> bool:
    """Whether MKL's product is faster than oneDNN's 1×1 convolution between this many channels and twice as many.

    On AVX2, oneDNN computes up to 24 or 32 output channels at a time. T0's 40, 80 and 160 channels leave a part of the
    last block empty, which costs a seventh of the block's time; in all other variants, oneDNN is as fast or faster.

    Args:
        channels: Channels of a feature map.

    Returns:
        True for channels that neither 24 nor 64 divides, on a CPU with AVX2 but not AVX-512, if torch has MKL.

    Example:
        >>> is_product_faster(64)
        False
    """
    if channels % 24 == 0 or channels % 64 == 0:
        return False
    return torch.backends.mkl.is_available() and torch.backends.cpu.get_cpu_capability() == 'AVX2'


def is_traced() -> bool:
    """Whether the forward is being compiled, exported or traced, which should see ordinary operators.

    Returns:
        True within ``torch.compile``, ``torch.export`` and ``torch.jit.trace``.

    Example:
        >>> is_traced()
        False
    """
    return _is_compiling() or torch.jit.is_tracing()


def as_rows(x: Tensor) -> Tensor:
    """A channels_last feature map as a matrix with a row for each pixel, without a copy.

    Args:
        x: Feature map of shape (N, C, H, W), channels_last.

    Returns:
        A view of shape (N · H · W, C).

    Example:
        >>> x = torch.rand(1, 40, 4, 6).contiguous(memory_format=torch.channels_last)
        >>> as_rows(x).shape
        torch.Size([24, 40])
    """
    return x.permute(0, 2, 3, 1).view(-1, x.shape[1])


def autocast_type(x: Tensor) -> torch.dtype | None:
    """What autocast casts the input of a convolution on a GPU to.

    Args:
        x: Feature map of any shape.

    Returns:
        The type, or None on the CPU, outside autocast and for float64, which is never cast.

    Example:
        >>> print(autocast_type(torch.rand(1)))
        None
    """
    # Without an argument, this asks for CUDA in all versions of torch.
    if not x.is_cuda or x.dtype == torch.float64 or not torch.is_autocast_enabled():
        return None
    # torch 2.1 has no function for any device.
    return torch.get_autocast_dtype('cuda') if hasattr(torch, 'get_autocast_dtype') else torch.get_autocast_gpu_dtype()


class PackedConv(nn.Module):
    """A convolution and its activation for inference, whose weights are reordered once rather than in every call.

    On the CPU, torch's convolution copies its weights into oneDNN's blocked form in every call. The best blocks depend
    on the size of the input and the number of threads, and weights in the wrong form are up to ten times slower than
    unpacked ones, so a form is kept for each pair of these. On a GPU under autocast, weights are cast once: autocast
    itself casts them in every call unless they have gradients. Elsewhere this is an ordinary convolution.

    Args:
        conv: The convolution, without groups; its weights are shared.
        activation: The activation after it. Defaults to None.

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
        self.fused = _FUSED.get(type(activation)) if is_exact else None
        self.packed: OrderedDict[tuple, Tensor | tuple] = OrderedDict()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and activate.

        Args:
            x: Feature map of shape (N, C, H, W), channels_last.

        Returns:
            A new feature map.
        """
        if not is_packed_for(x):
            out = self._convolve(x)
            return self.activate(out)
        out = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight_for(x), *self._arguments(), self.fused or 'none', [], 'none'
        )
        return out if self.fused else self.activate(out)

    def add_to(self, out: Tensor, x: Tensor) -> None:
        """Convolve without the activation, and add the result to a feature map in place.

        Args:
            out: Feature map that is changed, of the result's shape, channels_last.
            x: Feature map of shape (N, C, H, W), channels_last.
        """
        if is_packed_for(x):
            torch.ops.mkldnn._convolution_pointwise_.binary(
                out, x, self._weight_for(x), *self._arguments(), 'add', 1.0, None, [], None
            )
        else:
            out += self.conv(x)

    def columns(self) -> Tensor:
        """The weights of a 1×1 convolution as the right factor of a product, in the order that MKL reads; made once.

        Returns:
            A matrix with a row for each input channel and a column for each output channel, contiguous.
        """
        if 'columns' not in self.packed:
            self.packed['columns'] = self.conv.weight.flatten(1).t().contiguous()
        return self.packed['columns']

    def activate(self, out: Tensor) -> Tensor:
        """Apply the activation, if there is one; ReLU in place.

        Args:
            out: Output of the convolution, with the channels in dimension 1, which nothing else holds.

        Returns:
            A tensor of the same shape, which may be the same one.
        """
        if isinstance(self.activation, nn.ReLU):
            return F.relu_(out)
        return out if self.activation is None else self.activation(out)

    def weights_in(self, dtype: torch.dtype, channels: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Weight and bias in another type, and for more channels, which pass through unchanged; made once.

        Args:
            dtype: The type.
            channels: Channels of input and output, at least the convolution's own. Those beyond get a weight of one
                in the centre of the kernel. None means the convolution's own. Defaults to None.

        Returns:
            The weight, channels_last, and the bias, for the convolution's own channels.
        """
        conv = self.conv
        extra = 0 if channels is None else channels - conv.in_channels
        if dtype == conv.weight.dtype and extra == 0:
            return conv.weight, conv.bias
        key = (dtype, extra)
        if key not in self.packed:
            weight = F.pad(conv.weight, (0, 0, 0, 0, 0, extra, 0, extra)).to(dtype, memory_format=torch.channels_last)
            if extra:
                height, width = conv.kernel_size
                weight[-extra:, -extra:, height // 2, width // 2].fill_diagonal_(1)
            self.packed[key] = weight, None if conv.bias is None else conv.bias.to(dtype)
        return self.packed[key]

    def _convolve(self, x: Tensor) -> Tensor:
        """torch's convolution, under autocast with weights that are cast already."""
        conv, dtype = self.conv, autocast_type(x)
        if dtype is None or is_traced():
            return conv(x)
        return F.conv2d(x, *self.weights_in(dtype), conv.stride, conv.padding, conv.dilation)

    def _arguments(self) -> tuple:
        """Bias, padding, stride, dilation and groups, as oneDNN's operators take them."""
        conv = self.conv
        return conv.bias, conv.padding, conv.stride, conv.dilation, 1

    def _weight_for(self, x: Tensor) -> Tensor:
        """The weights in the best form for inputs like this one."""
        key = (*x.shape, torch.get_num_threads())
        if key in self.packed:
            self.packed.move_to_end(key)
        else:
            conv = self.conv
            self.packed[key] = torch.ops.mkldnn._reorder_convolution_weight(
                conv.weight, conv.padding, conv.stride, conv.dilation, 1, x.shape
            )
            if len(self.packed) > _KEPT:
                self.packed.popitem(last=False)
        return self.packed[key]

    def _apply(self, fn, *args, **kwargs) -> 'PackedConv':  # noqa: ANN001
        # The packed weights are outdated now.
        self.packed.clear()
        return super()._apply(fn, *args, **kwargs)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self.packed.clear()
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict:
        # Packed weights can be neither copied nor saved, and are made again.
        return {**self.__dict__, 'packed': OrderedDict()}
