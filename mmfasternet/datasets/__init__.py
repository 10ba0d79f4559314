"""Data sets that need no download."""

from .crops import make_crops
from .shapes import CLASSES, draw_scene, make_shapes, semantic_map, statistics, statistics_table
from .sheet import draw_semantic_sheet, draw_sheet

__all__ = [
    'CLASSES',
    'draw_scene',
    'draw_semantic_sheet',
    'draw_sheet',
    'make_crops',
    'make_shapes',
    'semantic_map',
    'statistics',
    'statistics_table',
]
