"""Exports of annotation tools, read with boxes and masks; every repair and loss has a name."""

from .coding import parse_map
from .convert import Conversion, convert_source
from .convert_labels import convert_classes, convert_maps
from .output import read_summary
from .read import FORMATS, LABELS, find_format, read_source
from .source import LabelledImage, Notes, Source, SourceImage, SourceObject

__all__ = [
    'FORMATS',
    'LABELS',
    'Conversion',
    'LabelledImage',
    'Notes',
    'Source',
    'SourceImage',
    'SourceObject',
    'convert_classes',
    'convert_maps',
    'convert_source',
    'find_format',
    'parse_map',
    'read_source',
    'read_summary',
]
