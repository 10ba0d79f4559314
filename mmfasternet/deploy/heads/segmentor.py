"""Segmentors of mmseg that see the complete image at once: the class of every pixel."""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import Upsample
from torch import Tensor, nn
from torch.nn import functional as F

from mmfasternet.deploy.verify import check_classes, predict_classes

from .graph import Graph

__all__ = ['SegmentorGraph']


class SegmentorGraph(Graph):
    """The graph of a decode head; the arguments are those of :class:`Graph`."""

    task = 'segmentation'
    outputs = ('classes',)
    models = (EncoderDecoder,)
    kinds = {'data_preprocessor': (SegDataPreProcessor,)}

    def __init__(self, model: nn.Module, pad: dict | None = None, batched: bool = False) -> None:
        super().__init__(model, pad, batched)
        self.head = _of_any_size(copy.deepcopy(model.decode_head))

    @property
    def heads(self) -> list[nn.Module]:
        """The decode head; the auxiliary one is for training."""
        return [self.head]

    @property
    def divisor(self) -> int:
        """As the data preprocessor pads in testing."""
        return (self.model.data_preprocessor.test_cfg or {}).get('size_divisor', 1)

    @property
    def num_classes(self) -> int:
        """Number of the head's classes."""
        return self.head.num_classes

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Find the class of every pixel.

        Args:
            image: Red, green and blue from 0 to 255, float32 of shape (N, 3, H, W), H and W at least 32 pixels; N is 1
                unless the graph is batched.

        Returns:
            Indices of classes (H, W); if batched, (N, H, W).
        """
        height, width = image.shape[2:]
        size = self.padded_sides((height, width))
        logits = self.head(self.features(image))
        logits = F.interpolate(logits, size, mode='bilinear', align_corners=self.head.align_corners)
        classes = logits[:, :, :height, :width].argmax(dim=1)
        return (classes if self.batched else classes[0],)

    def predict(self, image: Tensor) -> list[np.ndarray]:
        """The map (H, W)."""
        return [predict_classes(self.model, image)]

    def check(self, found: Sequence[np.ndarray], expected: Sequence[np.ndarray], precision: str) -> str:
        """See :func:`~mmfasternet.deploy.verify.check_classes`."""
        return check_classes(found[0], expected[0], precision)

    def obstacles(self, model: nn.Module) -> Iterator[str]:
        """Settings of the model that these steps do not support."""
        if model.test_cfg.get('mode', 'whole') != 'whole':
            yield f'test_cfg.mode={model.test_cfg.mode!r}, not whole'
        if model.decode_head.out_channels == 1:
            yield 'a decode_head of a single channel with a threshold'
        if 'size' in (model.data_preprocessor.test_cfg or {}):
            yield f'data_preprocessor.test_cfg={dict(model.data_preprocessor.test_cfg)}, not dict(size_divisor=…)'


class _Twice(nn.Module):
    """mmseg's Upsample without its arithmetic in floats, which a graph of any size can't follow."""

    def __init__(self, upsample: Upsample) -> None:
        super().__init__()
        self.factor, self.align_corners = int(upsample.scale_factor), upsample.align_corners

    def forward(self, x: Tensor) -> Tensor:
        size = [side * self.factor for side in x.shape[2:]]
        return F.interpolate(x, size, mode='bilinear', align_corners=self.align_corners)


class _Averages(nn.Module):
    """Adaptive average pooling of a map of any size, for which ONNX has no operator: two products with averages."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        along_y, along_x = (_averages(side, self.size, x) for side in x.shape[2:])
        return along_y @ x @ along_x.T


def _averages(pixels: int, cells: int, like: Tensor) -> Tensor:
    """The weight of each pixel in each cell (cells, pixels); cells overlap where they do not divide the pixels."""
    cell, pixel = torch.arange(cells, device=like.device)[:, None], torch.arange(pixels, device=like.device)
    start, end = cell * pixels // cells, -(-(cell + 1) * pixels // cells)
    return ((pixel >= start) & (pixel < end)).to(like.dtype) / (end - start).to(like.dtype)


def _of_any_size(head: nn.Module) -> nn.Module:
    """A decode head whose layers do not depend on the size of their maps."""
    for module in list(head.modules()):
        for name, child in module.named_children():
            if isinstance(child, Upsample) and child.mode == 'bilinear':
                setattr(module, name, _Twice(child))
            elif isinstance(child, nn.AdaptiveAvgPool2d) and isinstance(child.output_size, int):
                setattr(module, name, _Averages(child.output_size))
    return head
