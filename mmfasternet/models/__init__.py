from .fasternet import FasterNet
from .pconv import PConv

__all__ = ['FasterNet', 'PConv']
