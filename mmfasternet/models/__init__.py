"""The backbone, its operator PConv, the classifier's head, and timm's networks as backbones."""

from .fasternet import FasterNet
from .pconv import PConv

__all__ = ['FasterNet', 'PConv']
