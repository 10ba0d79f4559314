"""Batch norms folded into the convolutions beside them: the same function, one operator less."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ['fold_norm_after', 'fold_norm_before', 'is_foldable']


def is_foldable(norm: nn.Module) -> bool:
    """Whether a norm is a fixed scale and shift of each channel in evaluation mode.

    Args:
        norm: Any module.

    Returns:
        True for a batch norm with running statistics, of whatever kind.

    Example:
        >>> is_foldable(nn.BatchNorm2d(4)), is_foldable(nn.BatchNorm2d(4, track_running_stats=False))
        (True, False)
    """
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None


def scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """What the norm does in evaluation mode, in float64, so that folding rounds once."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    return scale, shift


@torch.no_grad()
def fold_norm_after(conv: nn.Conv2d, norm: _BatchNorm) -> nn.Conv2d:
    """One convolution for a convolution and the batch norm behind it.

    Args:
        conv: The convolution; it stays as it is.
        norm: The norm of its outputs, see :func:`is_foldable`.

    Returns:
        A new convolution with a bias.

    Example:
        >>> conv, norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8).eval()
        >>> x = torch.rand(1, 3, 16, 16)
        >>> torch.allclose(fold_norm_after(conv, norm)(x), norm(conv(x)), atol=1e-5)
        True
    """
    scale, shift = scale_and_shift(norm)
    bias = shift if conv.bias is None else shift + scale * conv.bias.double()
    return like(conv, conv.weight.double() * scale.reshape(-1, 1, 1, 1), bias)


@torch.no_grad()
def fold_norm_before(norm: _BatchNorm, conv: nn.Conv2d) -> nn.Conv2d:
    """One convolution for a batch norm and the 1×1 convolution behind it.

    Exact only without padding, which would put zeros in place of the norm's shift.

    Args:
        norm: The norm of its inputs, see :func:`is_foldable`.
        conv: The convolution; it stays as it is.

    Returns:
        A new convolution with a bias.

    Raises:
        ValueError: If the convolution pads or has groups.

    Example:
        >>> norm, conv = nn.BatchNorm2d(8).eval(), nn.Conv2d(8, 4, 1)
        >>> x = torch.rand(1, 8, 16, 16)
        >>> torch.allclose(fold_norm_before(norm, conv)(x), conv(norm(x)), atol=1e-5)
        True
    """
    if any(conv.padding) or conv.groups != 1:
        raise ValueError(f'a norm folds forward only into a convolution without padding and groups, but got {conv}')
    scale, shift = scale_and_shift(norm)
    weight = conv.weight.double()
    bias = torch.einsum('oihw,i->o', weight, shift)
    if conv.bias is not None:
        bias = bias + conv.bias.double()
    return like(conv, weight * scale.reshape(1, -1, 1, 1), bias)


def like(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution of the same form with other weights."""
    made = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    made.weight.copy_(weight)
    made.bias.copy_(bias)
    return made.requires_grad_(False).eval()
