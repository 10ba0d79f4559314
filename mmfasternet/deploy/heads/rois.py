"""Steps on the regions of detectors of two stages: features of boxes, and masks pasted into the image."""

from collections.abc import Iterator, Sequence

import torch
from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

__all__ = ['paste', 'pool', 'unsupported_layers']


def pool(extractor: SingleRoIExtractor, maps: Sequence[Tensor], boxes: Tensor, images: Tensor | None = None) -> Tensor:
    """RoIAlign of each box, on the level of the pyramid that fits the box's size.

    Args:
        extractor: The extractor, whose layers are RoIAligns that average.
        maps: The feature maps of the images.
        boxes: Boxes (n, 4).
        images: Which image each box is of (n,). None means the only one. Defaults to None.

    Returns:
        Features (n, C, h, w).
    """
    layers = extractor.roi_layers
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    scale = area.sqrt() / extractor.finest_scale + 1e-6
    # The level is log2 of the scale, rounded down; comparisons do not depend on how a runtime computes a logarithm.
    level = (scale[:, None] >= 2.0 ** torch.arange(1, len(layers), device=boxes.device)).sum(dim=1)
    pooled = boxes.new_zeros(boxes.shape[0], extractor.out_channels, *layers[0].output_size)
    for i, layer in enumerate(layers):
        rows = (level == i).nonzero()[:, 0]
        # The index of the image precedes the corners.
        rois = F.pad(boxes[rows], (1, 0))
        if images is not None:
            rois = torch.cat([images[rows, None].to(rois.dtype), boxes[rows]], dim=1)
        pooled[rows] = roi_align(
            maps[i], rois, layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned
        )
    return pooled


def unsupported_layers(extractor: SingleRoIExtractor) -> Iterator[str]:
    """Layers that :func:`pool` does not support.

    Args:
        extractor: The extractor.

    Yields:
        Each, in words.
    """
    for layer in extractor.roi_layers:
        if not isinstance(layer, RoIAlign) or layer.pool_mode != 'avg':
            yield f'the roi_layer {layer}, not RoIAlign that averages'


def paste(masks: Tensor, boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Stretch each mask over its box in the image.

    Bilinear interpolation is a weighting along y and one along x, and so two matrix products; a sampling grid over the
    complete image would take twice the memory of the result.

    Args:
        masks: Probabilities (n, h, w).
        boxes: Boxes (n, 4).
        shape: Height and width of the image.

    Returns:
        The masks (n, H, W), zero outside their boxes.
    """
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    along_y = _interpolation(y1, y2, masks.shape[1], shape[0])
    along_x = _interpolation(x1, x2, masks.shape[2], shape[1])
    return along_y @ masks @ along_x.transpose(1, 2)


def _interpolation(start: Tensor, end: Tensor, cells: int, pixels: int) -> Tensor:
    """The weight of each cell between start and end (n,) in each pixel of the image: (n, pixels, cells)."""
    centres = torch.arange(pixels, device=start.device) + 0.5
    position = (centres - start[:, None]) / (end - start)[:, None] * cells - 0.5
    return (1 - (position[:, :, None] - torch.arange(cells, device=start.device)).abs()).clamp(min=0)
