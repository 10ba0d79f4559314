"""A graph whose learned parts compute in float16, for runtimes that take every precision from the file."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mmfasternet.deploy.heads import Graph
from mmfasternet.errors import UserError

from .fold import fold_model

__all__ = ['check_range', 'in_half']


def in_half(graph: nn.Module) -> nn.Module:
    """Copy a graph that is to be exported, with its learned parts in float16.

    These are backbone, neck and heads. Batch norms are folded into the convolutions before the weights are rounded.
    Inputs and outputs stay float32, and so does what a detector computes between the learned parts: normalization,
    anchors, boxes, scores, NMS, RoIAlign, and what makes masks of a head's outputs.

    Args:
        graph: A backbone, ``nn.Sequential(backbone, neck)``, or a :class:`~mmfasternet.deploy.heads.Graph`, in
            evaluation mode.

    Returns:
        The copy.

    Example:
        >>> from mmfasternet import FasterNet
        >>> graph = in_half(FasterNet('t0').eval())
        >>> {parameter.dtype for parameter in graph.parameters()}
        {torch.float16}
    """
    graph = copy.deepcopy(graph)
    if isinstance(graph, Graph):
        graph.model.backbone = _folded(graph.model.backbone)
        spans = [graph.body, *zip(graph.heads, graph.heads, strict=True)]
    elif isinstance(graph, nn.Sequential):
        graph[0] = _folded(graph[0])
        spans = [(graph, graph)]
    else:
        graph = _folded(graph)
        spans = [(graph, graph)]
    for first, last in spans:
        first.half().register_forward_pre_hook(lambda module, inputs: _as(torch.float16, inputs))
        last.half().register_forward_hook(lambda module, inputs, outputs: _as(torch.float32, outputs))
    return graph


@torch.no_grad()
def check_range(graph: nn.Module, image: Tensor) -> None:
    """Make sure that float16 can hold what the layers of a graph give; a runtime may not show it on a CPU.

    Args:
        graph: The graph in float32.
        image: Its input.

    Raises:
        UserError: If a value is too large.

    Example:
        >>> check_range(nn.Conv2d(3, 8, 3), torch.rand(1, 3, 32, 32))
    """
    limit, largest = torch.finfo(torch.float16).max, 0.0

    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, Tensor) and output.is_floating_point() and output.numel():
            largest = max(largest, output.abs().max().item())

    hooks = [module.register_forward_hook(look) for module in graph.modules()]
    try:
        graph(image)
    finally:
        for hook in hooks:
            hook.remove()
    if not largest <= limit:
        raise UserError(f'fp16 ends at {limit:.0f}, and a layer of this model gives {largest:.0f}: export it in fp32')


def _folded(backbone: nn.Module) -> nn.Module:
    """Without the batch norms that follow a convolution."""
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    return fold_model(backbone, lambda network: network(image), type(backbone).__name__)[0]


def _as(dtype: torch.dtype, values: Any) -> Any:
    """Tensors, also in tuples and lists, in another type."""
    return tree_map(lambda value: value.to(dtype) if isinstance(value, Tensor) else value, values)
