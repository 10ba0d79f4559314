"""RTMDet-Ins: RTMDet's boxes, and masks by convolutions whose weights the head predicts for each object."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .rtmdet import RTMDetGraph

__all__ = ['RTMDetInsGraph']

# mmdet's: relative coordinates are in so many strides of an object's level.
_STRIDES = 8


class RTMDetInsGraph(RTMDetGraph):
    """The graph of RTMDet-Ins's heads; the arguments are those of :class:`Graph`."""

    names = (*RTMDetGraph.names, 'masks')
    # Masks are made by more than these steps.
    decoding = None

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Detect objects in an image.

        Args:
            image: Red, green and blue from 0 to 255, float32 of shape (N, 3, H, W), H and W at least 32 pixels; N is 1
                unless the graph is batched.

        Returns:
            Boxes x1, y1, x2, y2 in pixels (n, 4), scores (n,), highest first, labels (n,), and boolean masks (n, H, W);
            if batched, images (n,), in whose order the others are.
        """
        *outputs, prototypes = self.model.bbox_head(self.features(image))
        found, images, (points, levels, kernels) = self.detect(outputs, image.shape)
        masks = self._segment(prototypes[images], points, levels, kernels, image.shape[2:])
        return (*found, masks, images) if self.batched else (*found, masks)

    def weigh(self, scores: Tensor, *kernels: Tensor) -> Tensor:
        """The scores (n,) as they are: what else the head gives are kernels."""
        return scores

    def _segment(
        self, prototypes: Tensor, points: Tensor, levels: Tensor, kernels: Tensor, shape: Sequence[int]
    ) -> Tensor:
        """Masks (n, H, W) from prototypes (n, C, h, w), points (n, 2), levels (n,) and kernels (n, values)."""
        head = self.model.bbox_head
        height, width = prototypes.shape[2:]
        strides = [stride for stride, _ in head.prior_generator.strides]
        grid = head.prior_generator.single_level_grid_priors((height, width), 0, device=points.device)
        scale = points.new_tensor(strides)[levels] * _STRIDES
        relative = (points[:, :, None] - grid.T) / scale[:, None, None]
        # A convolution of 1 × 1 whose weights are an object's own is a matrix product for each object.
        x = torch.cat([relative, prototypes.flatten(2)], dim=1)
        weights = kernels.split([*head.weight_nums, *head.bias_nums], dim=1)
        layers = len(head.weight_nums)
        for i, (weight, bias) in enumerate(zip(weights[:layers], weights[layers:], strict=True)):
            x = weight.unflatten(1, (bias.shape[1], -1)) @ x + bias[:, :, None]
            if i < layers - 1:
                x = x.relu()
        logits = F.interpolate(x.unflatten(2, (height, width)), self.padded_sides(shape), mode='bilinear')
        return logits[:, 0, : shape[0], : shape[1]].sigmoid() > self.limits.mask_thr_binary
