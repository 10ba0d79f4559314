"""Exports of annotation tools, read with boxes and masks; every repair and loss has a name."""

from .convert import convert_source
from .read import FORMATS, read_source
from .source import Notes, Source, SourceImage, SourceObject

__all__ = ['FORMATS', 'Notes', 'Source', 'SourceImage', 'SourceObject', 'convert_source', 'read_source']
