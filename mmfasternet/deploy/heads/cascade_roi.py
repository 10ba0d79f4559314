"""Cascade R-CNN, with masks or without: a box head refines the boxes of the one before."""

from mmdet.models.detectors import CascadeRCNN

from .two_stage import TwoStageGraph

__all__ = ['CascadeRoIGraph']


class CascadeRoIGraph(TwoStageGraph):
    """CascadeRoIHead's graph; the arguments are those of :class:`Graph`."""

    models = (CascadeRCNN,)
