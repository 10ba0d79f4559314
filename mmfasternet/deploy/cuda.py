"""A block on a GPU: its 1×1 convolutions as matrix products that add the bias, ReLU and the shortcut themselves.

torch's convolution adds its bias in a kernel of its own, which reads and writes the complete feature map again, and so
do ReLU and the shortcut. A product of the library does these while its result is still in registers. With two hidden
channels per channel, that is 5 launches instead of 8, and half of the memory accesses. The library's GELU is the
approximation by tanh, so the exact one stays a kernel of its own.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .packed import PackedConv, as_rows, autocast_type, is_traced

__all__ = ['allowed_tf32', 'compute_by_products', 'has_products_for']

# Tensor cores take channels in multiples of this many in half precision.
_MULTIPLE = 8


def has_products_for(x: Tensor) -> bool:
    """Whether the 1×1 convolutions of this feature map are computed as products.

    Args:
        x: Feature map of shape (N, C, H, W).

    Returns:
        True on CUDA outside tracing, exporting and compiling, which see convolutions. Under autocast, if the map has
        its type. In float32, only if TF32 is allowed, or forbidden, for convolutions and products alike; by torch's
        default it is allowed for convolutions alone, and products would be slower and compute something else.

    Example:
        >>> has_products_for(torch.rand(1, 40, 8, 8))
        False
    """
    if not x.is_cuda or is_traced():
        return False
    if (dtype := autocast_type(x)) is not None:
        return x.dtype == dtype
    return x.dtype != torch.float32 or len(set(allowed_tf32())) == 1


def allowed_tf32() -> tuple[bool, bool]:
    """Whether torch may compute convolutions, and products, of float32 in TF32.

    Returns:
        The two settings.

    Example:
        >>> allowed_tf32()  # torch's default
        (True, False)
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    # torch 2.9 has new settings. Where they were used, the old ones can't be read.
    if hasattr(cudnn, 'conv'):
        return cudnn.conv.fp32_precision == 'tf32', matmul.fp32_precision == 'tf32'
    return cudnn.allow_tf32, matmul.allow_tf32


def compute_by_products(x: Tensor, partial_conv3: PackedConv, expand: PackedConv, project: PackedConv) -> Tensor:
    """Compute a block. The shortcut is added in place, since torch would otherwise copy it first (but for the newest).

    Args:
        x: Feature map of shape (N, C, H, W), channels_last, that nothing else holds; it is overwritten.
        partial_conv3: The convolution of the first channels.
        expand: The first 1×1 convolution, with the norm folded in, and the activation.
        project: The second 1×1 convolution, with the layer scale folded in.

    Returns:
        The feature map that was given, with the block's output in it.

    Example:
        >>> convs = [nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 1, bias=False)]
        >>> partial_conv3, expand, project = [PackedConv(conv.requires_grad_(False)) for conv in convs]
        >>> x = torch.rand(1, 8, 5, 5).contiguous(memory_format=torch.channels_last)
        >>> expected = x + project(expand(torch.cat((partial_conv3(x[:, :2]), x[:, 2:]), dim=1)))
        >>> torch.allclose(compute_by_products(x, partial_conv3, expand, project), expected, atol=1e-5)
        True
    """
    # A convolution by another library than cuDNN may give the default memory format.
    mixed = as_rows(_mix(x, partial_conv3).contiguous(memory_format=torch.channels_last))
    weight, bias = expand.weights_in(x.dtype)
    if isinstance(expand.activation, nn.ReLU):
        hidden = torch._addmm_activation(bias, mixed, _columns(weight))
    else:
        hidden = expand.activate(torch.addmm(bias, mixed, _columns(weight)))
    weight, _ = project.weights_in(x.dtype)
    as_rows(x).addmm_(hidden, _columns(weight))
    return x


def _mix(x: Tensor, partial_conv3: PackedConv) -> Tensor:
    """PConv, as a new map. In half precision it convolves a few more channels, whose weights let them pass through."""
    conv, channels = partial_conv3.conv, partial_conv3.conv.in_channels
    if x.dtype in (torch.float16, torch.bfloat16):
        # 10, 20 and 36 channels of T0 and M become 16, 24 and 40. In TF32, passing through would round.
        channels = min(-(-channels // _MULTIPLE) * _MULTIPLE, x.shape[1])
    weight, _ = partial_conv3.weights_in(x.dtype, channels)
    p = F.conv2d(x[:, :channels], weight, None, conv.stride, conv.padding, conv.dilation)
    return p if channels == x.shape[1] else torch.cat((p, x[:, channels:]), dim=1)


def _columns(weight: Tensor) -> Tensor:
    """The weights of a 1×1 convolution as the right factor of a product, without a copy."""
    return weight.flatten(1).t()
