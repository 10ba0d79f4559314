"""Layers of other backbones for maps of any size: a graph follows a branch on the size on one side alone."""

import copy

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ['bound_to_a_size', 'of_any_size']


class _Padding(nn.Module):
    """AdaptivePadding on the right and below, up to complete patches."""

    def __init__(self, padding: nn.Module) -> None:
        super().__init__()
        self.stride = padding.stride
        # A patch that is larger than its stride reaches beyond the last one.
        self.more = [_extent(padding, side) - self.stride[side] for side in (0, 1)]

    def forward(self, x: Tensor) -> Tensor:
        below, right = (-size % self.stride[i] + self.more[i] for i, size in enumerate(x.shape[2:]))
        return F.pad(x, (0, right, 0, below))


def bound_to_a_size(model: nn.Module) -> str | None:
    """Why torch can't follow the sizes of a model's maps, or not in reasonable time.

    Args:
        model: What is exported, or the model that it is a part of.

    Returns:
        The reason, or None.

    Example:
        >>> bound_to_a_size(nn.Conv2d(3, 8, 3)) is None
        True
    """
    # torch takes many minutes for the sizes of shifted windows, if it comes to an end.
    reasons = dict(
        ShiftWindowMSA='the number of its windows depends on the size',
        MultiScaleDeformableAttention='its deformable attention splits a row of all places into levels of known sizes',
    )
    return next((reasons[name] for module in model.modules() if (name := type(module).__name__) in reasons), None)


def of_any_size(graph: nn.Module) -> nn.Module:
    """A graph whose layers do not depend on the size of their maps, as far as they are known.

    Args:
        graph: What is exported.

    Returns:
        A copy, or the graph itself where nothing is to change.

    Example:
        >>> from mmcv.cnn.bricks.transformer import AdaptivePadding
        >>> of_any_size(nn.Sequential(AdaptivePadding(kernel_size=4, stride=4)))
        Sequential(
          (0): _Padding()
        )
    """
    if not any(map(_depends, graph.modules())):
        return graph
    graph = copy.deepcopy(graph)
    for module in list(graph.modules()):
        for name, child in module.named_children():
            if _depends(child):
                setattr(module, name, _Padding(child))
    return graph


def _depends(module: nn.Module) -> bool:
    # mmcv, mmdet and mmpretrain have one each.
    return (
        type(module).__name__ == 'AdaptivePadding'
        and module.padding == 'corner'
        and all(_extent(module, side) >= module.stride[side] for side in (0, 1))
    )


def _extent(padding: nn.Module, side: int) -> int:
    """Pixels that a kernel covers along a side."""
    return (padding.kernel_size[side] - 1) * padding.dilation[side] + 1
