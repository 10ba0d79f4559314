"""RTMDet: as FCOS, without a factor of the scores."""

from mmdet.models.detectors import RTMDet, SingleStageDetector

from .fcos import FCOSGraph

__all__ = ['RTMDetGraph']


class RTMDetGraph(FCOSGraph):
    """The graph of RTMDet's heads; the arguments are those of :class:`Graph`."""

    models = (RTMDet, SingleStageDetector)
