"""FCOS: points, and their distances from the sides of boxes."""

from collections.abc import Sequence
from typing import Any

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.detectors import FCOS, SingleStageDetector
from mmdet.models.task_modules import DistancePointBBoxCoder, MlvlPointGenerator
from torch import Tensor

from .boxes import decode_distances
from .dense import DenseGraph

__all__ = ['FCOSGraph']


class FCOSGraph(DenseGraph):
    """FCOSHead's graph; the arguments are those of :class:`Graph`."""

    models = (FCOS, SingleStageDetector)
    kinds = {
        'data_preprocessor': (DetDataPreprocessor,),
        'bbox_head.prior_generator': (MlvlPointGenerator,),
        'bbox_head.bbox_coder': (DistancePointBBoxCoder,),
    }

    @property
    def coding(self) -> dict[str, Any]:
        """Each level's first point."""
        generator = self.model.bbox_head.prior_generator
        levels = [
            dict(stride=list(stride), priors=[[generator.offset * side for side in stride]])
            for stride in generator.strides
        ]
        return dict(kind='distances', levels=levels)

    def decode(self, coder: DistancePointBBoxCoder, priors: Tensor, deltas: Tensor, shape: Sequence[int]) -> Tensor:
        """The boxes (n, 4) that distances from points mean."""
        return decode_distances(priors, deltas, shape)
