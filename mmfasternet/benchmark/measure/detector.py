"""What a detector's measurements share: two stages, the padded shape of an image, and the fixed proposals."""

from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmfasternet.errors import UserError

__all__ = ['FIXED_PROPOSALS', 'FIXED_ROIS', 'check_two_stages', 'fixed_boxes', 'padded_shape']

FIXED_PROPOSALS = 1000
FIXED_ROIS = 100


def check_two_stages(model: nn.Module, config: str | Path) -> None:
    """Make sure that a detector has what fixed proposals go into."""
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


def padded_shape(cfg: Config, height: int, width: int) -> tuple[int, int]:
    """The shape that the config's preprocessor pads an image to."""
    divisor = (cfg.model.get('data_preprocessor') or {}).get('pad_size_divisor', 1)
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def fixed_boxes(count: int, height: int, width: int, device: str | torch.device = 'cpu') -> Tensor:
    """The same boxes for every model, of sizes that reach every level of the pyramid.

    Their sides run from 16 pixels to the image's shorter one, with ratios 1:2, 1:1 and 2:1, their centres over the
    entire image.
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
