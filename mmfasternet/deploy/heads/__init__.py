"""Complete models as graphs of ONNX's own operators: what they share, and a file for each head."""

from importlib import import_module

from torch import nn

from mmfasternet.errors import UserError

from .graph import Graph, padding_colour, refuse, takes_rgb
from .table import HEADS

__all__ = ['Graph', 'complete_graph', 'padding_colour', 'refuse', 'takes_rgb']

# Where models have their head: detectors of two stages and of one, segmentors, and classifiers.
_PLACES = ('roi_head', 'bbox_head', 'decode_head', 'head')


def complete_graph(
    model: nn.Module, pad: dict | None = None, batched: bool = False, small_masks: bool = False
) -> Graph:
    """The steps of a complete model, from an image's pixels to what it finds there.

    Args:
        model: A model in evaluation mode, whose head is in ``HEADS``.
        pad: The arguments of mmdet's ``Pad`` for images, ``size_divisor`` and ``pad_val``, where the model does not pad
            them itself. Defaults to None.
        batched: Whether the graph takes several images; its outputs then have a dimension for them, or say which image
            each object is of. Defaults to False.
        small_masks: Whether masks are probabilities (n, h, w) of their boxes, and not boolean (n, H, W) of the image.
            Defaults to False.

    Returns:
        The graph of its head.

    Raises:
        UserError: If there is no such graph, or a part or a setting of the model is not what it is written for.

    Example:
        >>> import torch
        >>> from mmfasternet.engine.build import build_model
        >>> graph = complete_graph(build_model('configs/demo/retinanet_fasternet_t0_shapes.py')[1])
        >>> with torch.no_grad():
        ...     boxes, scores, labels = graph(255 * torch.rand(1, 3, 96, 128))
        >>> boxes.shape[1]
        4
    """
    place, head = next(((name, found) for name in _PLACES if (found := getattr(model, name, None))), (None, None))
    if head is None:
        refuse(model, f'it has no {", ".join(_PLACES[:-1])} or {_PLACES[-1]}')
    file, name = HEADS.get(f'{type(head).__module__.partition(".")[0]}.{type(head).__name__}', (None, None))
    if file is None:
        refuse(model, f'its {place} is a {type(head).__name__}')
    graph = getattr(import_module(f'.{file}', __name__), name)(model, pad, batched)
    if small_masks:
        if 'masks' not in graph.outputs:
            raise UserError(
                f'this {type(model).__name__} gives no masks, which could be small: leave out --masks small'
            )
        if not hasattr(graph, 'small_masks'):
            raise UserError(
                f'the masks of this {type(model).__name__} are of the complete image and need not end at their boxes, '
                f'so there are no small ones of the boxes: leave out --masks small'
            )
        graph.small_masks = True
    return graph
