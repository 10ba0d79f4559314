"""RetinaNet: anchors, moved and stretched."""

from collections.abc import Sequence
from typing import Any

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.detectors import RetinaNet, SingleStageDetector
from mmdet.models.task_modules import AnchorGenerator, DeltaXYWHBBoxCoder
from torch import Tensor

from .boxes import decode_deltas
from .dense import DenseGraph

__all__ = ['RetinaGraph']


class RetinaGraph(DenseGraph):
    """RetinaHead's graph; the arguments are those of :class:`Graph`."""

    models = (RetinaNet, SingleStageDetector)
    kinds = {
        'data_preprocessor': (DetDataPreprocessor,),
        'bbox_head.prior_generator': (AnchorGenerator,),
        'bbox_head.bbox_coder': (DeltaXYWHBBoxCoder,),
    }

    @property
    def coding(self) -> dict[str, Any]:
        """Each level's anchors at its first place, and how their deltas are scaled."""
        generator, coder = self.model.bbox_head.prior_generator, self.model.bbox_head.bbox_coder
        levels = [
            dict(stride=list(stride), priors=anchors.tolist())
            for stride, anchors in zip(generator.strides, generator.base_anchors, strict=True)
        ]
        return dict(kind='deltas', levels=levels, means=list(coder.means), stds=list(coder.stds))

    def decode(self, coder: DeltaXYWHBBoxCoder, priors: Tensor, deltas: Tensor, shape: Sequence[int]) -> Tensor:
        """The boxes (n, 4) that deltas of anchors mean."""
        return decode_deltas(coder, priors, deltas, shape)
