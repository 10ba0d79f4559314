"""Generated data that needs no download, checks of any data set, and sheets of predictions."""

from .crops import make_crops
from .images import find_images, open_image, read_image
from .shapes import CLASSES, draw_scene, make_shapes, semantic_map, statistics, statistics_table
from .sheet import draw_semantic_sheet, draw_sheet

__all__ = [
    'CLASSES',
    'draw_scene',
    'draw_semantic_sheet',
    'draw_sheet',
    'find_images',
    'make_crops',
    'make_shapes',
    'open_image',
    'read_image',
    'semantic_map',
    'statistics',
    'statistics_table',
]
