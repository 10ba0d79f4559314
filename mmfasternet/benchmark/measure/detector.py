"""A two-stage detector as the comparison sees it: built without weights, in named parts, with fixed proposals."""

from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmfasternet.errors import UserError

__all__ = [
    'FIXED_PROPOSALS',
    'FIXED_ROIS',
    'fixed_boxes',
    'padded_shape',
    'parts_of',
]

FIXED_PROPOSALS = 1000
FIXED_ROIS = 100


def parts_of(model: nn.Module, config: str | Path) -> dict[str, nn.Module]:
    """The parts that a detector's cost is split into.

    Args:
        model: A two-stage detector of mmdet.
        config: Its config file, for the error.

    Returns:
        ``backbone``, ``neck``, ``rpn``, ``box_head`` and, if there is one, ``mask_head``, in the order they run.

    Raises:
        UserError: If it is no two-stage detector with one box head.

    Example:
        >>> cfg, model = build_model('configs/mask_rcnn_fasternet_t0.py')
        >>> list(parts_of(model, cfg.filename))
        ['backbone', 'neck', 'rpn', 'box_head', 'mask_head']
    """
    roi_head = getattr(model, 'roi_head', None)
    if not (
        getattr(model, 'with_neck', False)
        and getattr(model, 'with_rpn', False)
        and isinstance(getattr(roi_head, 'bbox_head', None), nn.Module)
        and not isinstance(roi_head.bbox_head, nn.ModuleList)
    ):
        raise UserError(
            f'{config} has no two-stage detector: a neck, an RPN and one box head are needed, as in Mask R-CNN or '
            f'Faster R-CNN, but it builds a {type(model).__name__}'
        )
    parts = dict(backbone=model.backbone, neck=model.neck, rpn=model.rpn_head, box_head=roi_head.bbox_head)
    if roi_head.with_mask:
        parts['mask_head'] = roi_head.mask_head
    return parts


def padded_shape(cfg: Config, height: int, width: int) -> tuple[int, int]:
    """The shape that the config's preprocessor pads a picture to.

    Args:
        cfg: The resolved config.
        height: Height of the picture in pixels.
        width: Width of the picture in pixels.

    Returns:
        Height and width in pixels.

    Example:
        >>> padded_shape(Config(dict(model=dict(data_preprocessor=dict(pad_size_divisor=32)))), 800, 1333)
        (800, 1344)
    """
    divisor = (cfg.model.get('data_preprocessor') or {}).get('pad_size_divisor', 1)
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def fixed_boxes(count: int, height: int, width: int, device: str | torch.device = 'cpu') -> Tensor:
    """The same boxes for every model, of sizes that reach every level of the pyramid.

    Their sides run from 16 pixels to the picture's shorter one, with ratios 1:2, 1:1 and 2:1, their centres over the
    whole picture.

    Args:
        count: Number of boxes.
        height: Height of the picture in pixels.
        width: Width of the picture in pixels.
        device: Where they go. Defaults to 'cpu'.

    Returns:
        Corners x1, y1, x2, y2 in pixels, inside the picture, of shape (count, 4).

    Example:
        >>> fixed_boxes(1000, 800, 1280).shape
        torch.Size([1000, 4])
    """
    generator = torch.Generator().manual_seed(0)
    index = torch.arange(count)
    side = 16 * (min(height, width) / 16) ** (index / max(count - 1, 1))
    ratio = torch.tensor([0.5, 1.0, 2.0])[index % 3].sqrt()
    size = torch.stack([side * ratio, side / ratio], dim=1)
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([width, height])
    corners = torch.cat([centre - size / 2, centre + size / 2], dim=1)
    limits = torch.tensor([width, height, width, height])
    return corners.clamp(min=torch.zeros(4), max=limits).to(device)
