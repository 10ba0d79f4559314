"""What the graphs of all detectors share: mmdet's own predictions, which they are compared with."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mmfasternet.deploy.verify import check_detections, check_similar_detections, predict

from .graph import Graph, padding_colour

__all__ = ['DetectorGraph', 'OneHeadGraph']

# The stride of a detector's last feature map that the backbone gives.
_STRIDE = 32


class DetectorGraph(Graph):
    """A graph of a detector of mmdet; the arguments are those of :class:`Graph`."""

    task = 'detection'
    takes_pad = True

    def __init__(self, model: nn.Module, pad: dict | None = None, batched: bool = False) -> None:
        super().__init__(model, pad, batched)
        if pad is None and self.divisor % _STRIDE and _needs_multiples(model):
            # As the preprocessor would, where its pad_size_divisor said so.
            colour = tuple(padding_colour(model.data_preprocessor)[::-1])
            self.pad = dict(size_divisor=_STRIDE, pad_val=dict(img=colour))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what forward returns; of several images, also which one each object is of."""
        return (*self.names, 'images') if self.batched else self.names

    def limit_detections(self, most: int) -> None:
        """Let an image have so many objects at most, in the graph and in the model's own ``predict``."""
        self.limits.max_per_img = most

    @property
    def limits(self) -> dict:
        """The settings of the last NMS."""
        raise NotImplementedError

    @property
    def facts(self) -> dict[str, float]:
        """The lowest score of an object."""
        return dict(score_thr=self.limits.get('score_thr', 0))

    def of_each(self, found: Sequence[np.ndarray], number: int) -> list[list[np.ndarray]]:
        """The outputs for each image."""
        if not self.batched:
            return [list(found)]
        *values, images = found
        return [[value[images == image] for value in values] for image in range(number)]

    def predict(self, image: Tensor) -> list[np.ndarray]:
        """Boxes (n, 4), scores (n,), labels (n,), and masks (n, H, W) of a detector that has them."""
        return predict(self.model, image, self.pad)

    def check(self, found: Sequence[np.ndarray], expected: Sequence[np.ndarray], precision: str) -> str:
        """See :func:`~mmfasternet.deploy.verify.check_detections`."""
        return (check_similar_detections if precision == 'fp16' else check_detections)(found, expected)


class OneHeadGraph(DetectorGraph):
    """A graph of a detector whose only head gives boxes; the arguments are those of :class:`Graph`."""

    names = ('boxes', 'scores', 'labels')

    @property
    def heads(self) -> list[nn.Module]:
        """The only head."""
        return [self.model.bbox_head]

    @property
    def limits(self) -> dict:
        """The settings by which objects are chosen."""
        return self.model.bbox_head.test_cfg

    @property
    def num_classes(self) -> int:
        """Number of the head's classes."""
        return self.model.bbox_head.num_classes


@torch.no_grad()
def _needs_multiples(model: nn.Module) -> bool:
    """Whether the neck adds or joins feature maps whose sizes fit only where the strides divide the image's sides."""
    if not model.with_neck:
        return False
    try:
        model.neck(model.backbone(torch.zeros(1, 3, _STRIDE * 3 // 2, _STRIDE * 5 // 2)))
    except RuntimeError:
        return True
    return False
