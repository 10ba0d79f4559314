"""What goes into an exported file: a part of a model, and images on which a runtime is compared with it."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmfasternet.datasets import draw_scene
from mmfasternet.deploy.heads import Graph, complete_graph
from mmfasternet.errors import UserError

from .form import Form
from .inputs import padding

__all__ = ['part_of', 'scenes']


def part_of(cfg: Config, model: nn.Module, config: str | Path, part: str, form: Form) -> nn.Module:
    """The part of a model that goes into a file.

    Args:
        cfg: The resolved config.
        model: Its model, in evaluation mode.
        config: The config file, for messages.
        part: One of ``PARTS``.
        form: The sizes of the file.

    Returns:
        A :class:`~mmfasternet.deploy.heads.Graph` of a complete model, else what gives feature maps.

    Raises:
        UserError: If the model has no such part, or it can't be exported in this form.
    """
    if part == 'detector':
        graph = complete_graph(model, padding(cfg), form.batch != 1, form.masks == 'small')
    elif part == 'backbone':
        graph = model.backbone
    elif getattr(model, 'with_neck', False):
        graph = nn.Sequential(model.backbone, model.neck)
    else:
        raise UserError(f'{config} has no neck; take --part backbone')
    form.check_graph(graph)
    if form.max_detections is not None:
        graph.limit_detections(form.max_detections)
    return graph


def scenes(graph: nn.Module, number: int, height: int, width: int) -> Tensor:
    """Generated images for a graph.

    Args:
        graph: What takes them.
        number: Number of images.
        height: Of each.
        width: Of each.

    Returns:
        float32 (number, 3, height, width): red, green and blue from 0 to 255 for a complete model, else from -1 to 1.

    Example:
        >>> scenes(nn.Identity(), 2, 64, 96).shape
        torch.Size([2, 3, 64, 96])
    """
    rng = np.random.default_rng(0)
    # A scene has at least 96 pixels along each side.
    drawn = np.stack([draw_scene(rng, (max(height, 96), max(width, 96)), difficulty=0.1)[0] for _ in range(number)])
    images = torch.from_numpy(drawn[:, :height, :width]).permute(0, 3, 1, 2).float().contiguous()
    return images if isinstance(graph, Graph) else images / 128 - 1
