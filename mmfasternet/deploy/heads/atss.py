"""ATSS: RetinaNet's anchors, one at each place, and scores weighted by how central it is."""

from mmdet.models.detectors import ATSS, SingleStageDetector

from .retina import RetinaGraph

__all__ = ['ATSSGraph']


class ATSSGraph(RetinaGraph):
    """ATSSHead's graph; the arguments are those of :class:`Graph`."""

    models = (ATSS, SingleStageDetector)
