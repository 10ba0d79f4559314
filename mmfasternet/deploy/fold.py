"""Batch norms folded into the convolutions beside them: the same function with fewer operators."""

import copy
from collections.abc import Callable, Sequence

import torch
from mmcv.cnn.utils import fuse_conv_bn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfasternet.errors import UserError

__all__ = [
    'TOLERANCE',
    'check_same',
    'count_norms',
    'fold_model',
    'fold_norm_after',
    'fold_norm_before',
    'is_foldable',
    'largest_difference',
    'merge_branches',
]

# Largest difference, over a feature map's largest value, that rounding may cause.
TOLERANCE = 1e-4


def fold_model(
    model: nn.Module, forward: Callable[[nn.Module], Sequence[Tensor]], name: str
) -> tuple[nn.Module, int, float]:
    """Fold the batch norms of any network into the convolutions before them, and timm's parallel branches into one.

    This is the same treatment for every network; what FasterNet alone gains is in
    :func:`~mmfasternet.deploy.optimize_for_inference`.

    Args:
        model: A model in evaluation mode; it stays as it is.
        forward: Gives the tensors, float32 and of any shape, by which the folded model is compared with the model.
        name: Name of the model in errors.

    Returns:
        The folded model, the number of batch norms that are gone, and the largest difference from the model, see
        :func:`largest_difference`.

    Raises:
        UserError: If the folded model computes something else.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).eval()
        >>> image = torch.rand(1, 3, 16, 16)
        >>> folded, count, difference = fold_model(model, lambda network: [network(image)], 'example')
        >>> count, difference < TOLERANCE
        (1, True)
    """
    folded = fuse_conv_bn(copy.deepcopy(merge_branches(model)))
    return folded, count_norms(model) - count_norms(folded), check_same(model, folded, forward, f'{name} folded')


def merge_branches(model: nn.Module) -> nn.Module:
    """A model in which timm's parallel branches, as those of RepViT, are merged into one convolution each.

    Args:
        model: A model in evaluation mode; it stays as it is.

    Returns:
        A copy, or the model itself if no module is timm's.

    Example:
        >>> model = nn.Conv2d(3, 8, 3)
        >>> merge_branches(model) is model
        True
    """
    if not any(type(module).__module__.startswith('timm.') for module in model.modules()):
        return model
    # Imported here, since only timm's models need it.
    from timm.utils import reparameterize_model

    return reparameterize_model(model)


@torch.inference_mode()
def check_same(
    model: nn.Module, other: nn.Module, forward: Callable[[nn.Module], Sequence[Tensor]], name: str
) -> float:
    """Make sure that a model that was made from another one computes the same.

    Args:
        model: The model.
        other: What was made from it.
        forward: Gives the tensors of either that are compared.
        name: Name of what was made, in errors.

    Returns:
        The largest difference, see :func:`largest_difference`.

    Raises:
        UserError: If it is above ``TOLERANCE``.

    Example:
        >>> check_same(nn.Identity(), nn.Identity(), lambda network: [network(torch.ones(2))], 'example')
        0.0
    """
    difference = largest_difference(forward(other), forward(model))
    if not difference <= TOLERANCE:
        raise UserError(
            f'{name} computes something else: its outputs differ by {difference:.1e} of their largest value, '
            f'and at most {TOLERANCE:.0e} is allowed; use the original, or leave it out'
        )
    return difference


def largest_difference(maps: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference between feature maps, relative to the largest value of the expected one.

    Args:
        maps: Tensors, or numpy's arrays, of any floating type.
        expected: The same number of them, of the same shapes.

    Returns:
        The largest over all maps; NaN if any of them has a NaN.

    Example:
        >>> round(largest_difference([torch.tensor([1.0, 3.0])], [torch.tensor([1.0, 4.0])]), 2)
        0.25
    """
    pairs = [(torch.as_tensor(a).float(), torch.as_tensor(b).float()) for a, b in zip(maps, expected, strict=True)]
    return float(torch.stack([(a - b).abs().max() / b.abs().max() for a, b in pairs]).max())


def count_norms(model: nn.Module) -> int:
    """Count the batch norms of a model.

    Args:
        model: Any model.

    Returns:
        Their number, of whatever kind.

    Example:
        >>> count_norms(nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()))
        1
    """
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


def is_foldable(norm: nn.Module) -> bool:
    """Whether a norm is a fixed scale and shift of each channel in evaluation mode.

    Args:
        norm: Any module.

    Returns:
        True for a batch norm with running statistics, of any kind.

    Example:
        >>> is_foldable(nn.BatchNorm2d(4)), is_foldable(nn.BatchNorm2d(4, track_running_stats=False))
        (True, False)
    """
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None


def _scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """The norm in evaluation mode as a scale and a shift, in float64, so that folding rounds only once."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    return scale, shift


@torch.no_grad()
def fold_norm_after(conv: nn.Conv2d, norm: _BatchNorm) -> nn.Conv2d:
    """Fold a batch norm into the convolution before it.

    Args:
        conv: The convolution; it stays as it is.
        norm: The norm of its output, see :func:`is_foldable`.

    Returns:
        A new convolution with a bias, which does the work of both.

    Example:
        >>> conv, norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8).eval()
        >>> x = torch.rand(1, 3, 16, 16)
        >>> torch.allclose(fold_norm_after(conv, norm)(x), norm(conv(x)), atol=1e-5)
        True
    """
    scale, shift = _scale_and_shift(norm)
    bias = shift if conv.bias is None else shift + scale * conv.bias.double()
    return _like(conv, conv.weight.double() * scale.reshape(-1, 1, 1, 1), bias)


@torch.no_grad()
def fold_norm_before(norm: _BatchNorm, conv: nn.Conv2d) -> nn.Conv2d:
    """Fold a batch norm into the convolution after it.

    This is exact only without padding, which would put zeros in place of the norm's shift.

    Args:
        norm: The norm of its input, see :func:`is_foldable`.
        conv: The convolution; it stays as it is.

    Returns:
        A new convolution with a bias, which does the work of both.

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
    scale, shift = _scale_and_shift(norm)
    weight = conv.weight.double()
    bias = torch.einsum('oihw,i->o', weight, shift)
    if conv.bias is not None:
        bias = bias + conv.bias.double()
    return _like(conv, weight * scale.reshape(1, -1, 1, 1), bias)


def _like(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution of the same shape with other weights."""
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
