"""Mask R-CNN, and Faster R-CNN, which has no masks."""

from mmdet.models.detectors import FasterRCNN, MaskRCNN, TwoStageDetector

from .two_stage import TwoStageGraph

__all__ = ['StandardRoIGraph']


class StandardRoIGraph(TwoStageGraph):
    """StandardRoIHead's graph; the arguments are those of :class:`Graph`."""

    models = (MaskRCNN, FasterRCNN, TwoStageDetector)
