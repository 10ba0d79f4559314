"""CVAT's own XML, for images and for video. Frame: the stated size tells it, else upright, as browsers show images."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from .files import SourceFiles, split_of, split_of_file
from .geometry import ellipse, mask_of_runs
from .parse import read_xml
from .source import Notes, Record, Shape

__all__ = ['is_cvat', 'read_cvat']


def is_cvat(root: ElementTree.Element) -> bool:
    """Whether an XML's root is CVAT's.

    Args:
        root: The root element.

    Returns:
        Whether it is.

    Example:
        >>> is_cvat(ElementTree.fromstring('<annotations><image/></annotations>'))
        True
    """
    return root.tag == 'annotations' and (root.find('image') is not None or root.find('track') is not None)


def read_cvat(files: SourceFiles, notes: Notes) -> tuple[list[Record], list[str]]:
    """Read every CVAT XML below a source.

    Args:
        files: The source.
        notes: What is repaired or left out is noted here.

    Returns:
        The images, and the classes in alphabetical order.
    """
    records = []
    for path in files.ending('.xml'):
        root = read_xml(files.root / path)
        if not is_cvat(root):
            notes.leave_out("XML that is not in CVAT's format", path)
            continue
        records += [_read(path, entry, files, notes) for entry in root.findall('image')]
        records += _read_tracks(path, root, files, notes)
    return records, sorted({shape.label for record in records for shape in record.shapes})


def _read(path: Path, entry: ElementTree.Element, files: SourceFiles, notes: Notes) -> Record:
    name, subset = entry.get('name', ''), entry.get('subset') or ''
    split = split_of_file(Path(subset)) or split_of_file(path)
    # Images of a subset are in a folder of its name.
    found = files.find_image(f'{subset}/{name}', path.parent, split)
    record = Record(
        name, found, [], _size(entry.get('width'), entry.get('height')), split or (found and split_of(found))
    )
    for number, thing in enumerate(entry, 1):
        if shape := _shape(thing, thing.get('label', ''), f'{path}: {name}, object {number}', notes):
            record.shapes.append(shape)
    return record


def _read_tracks(path: Path, root: ElementTree.Element, files: SourceFiles, notes: Notes) -> list[Record]:
    """The frames of a video, which are images with the number of the frame in their names."""
    records: dict[str, Record] = {}
    size = root.find('meta//original_size')
    size = None if size is None else _size(size.findtext('width'), size.findtext('height'))
    for track in root.findall('track'):
        for thing in track:
            if thing.get('outside') == '1':
                continue
            frame = thing.get('frame', '')
            name = f'frame_{frame:0>6}'
            where = f'{path}: track {track.get("id")}, frame {frame}'
            if name not in records:
                found = files.find_image(name, path.parent)
                records[name] = Record(name, found, [], size, found and split_of(found))
            if shape := _shape(thing, track.get('label', ''), where, notes):
                records[name].shapes.append(shape)
    return list(records.values())


def _size(width: str | None, height: str | None) -> tuple[int, int] | None:
    words = width or '', height or ''
    return (int(words[0]), int(words[1])) if all(re.fullmatch(r'[1-9]\d{0,5}', word) for word in words) else None


def _shape(thing: ElementTree.Element, label: str, where: str, notes: Notes) -> Shape | None:
    label = label.strip()
    if thing.get('group_id', '0') != '0':
        notes.notice('shape of a group, read as an object of its own', where)
    if _number(thing.get('rotation') or '0') and thing.tag in ('box', 'ellipse'):
        notes.leave_out(f'rotated {thing.tag}', where)
    elif thing.tag == 'box':
        return Shape(label, where, [_number(thing.get(key)) for key in ('xtl', 'ytl', 'xbr', 'ybr')])
    elif thing.tag == 'polygon':
        return Shape(label, where, polygons=[[_number(word) for word in re.split('[,;]', thing.get('points', ''))]])
    elif thing.tag == 'ellipse':
        numbers = [_number(thing.get(key)) for key in ('cx', 'cy', 'rx', 'ry')]
        return Shape(label, where, polygons=[ellipse(*numbers)])
    elif thing.tag == 'mask':
        return Shape(label, where, mask=lambda width, height: _mask(thing, width, height))
    else:
        notes.leave_out(f'shape of the type {thing.tag[:40]}, which is neither a box nor a mask', where)
    return None


def _mask(thing: ElementTree.Element, width: int, height: int) -> np.ndarray:
    """Runs along the rows of a part of the image."""
    left, top, wide, high = (int(thing.get(key) or '') for key in ('left', 'top', 'width', 'height'))
    if not (left >= 0 and top >= 0 and left + wide <= width and top + high <= height):
        raise ValueError('it reaches out of its image')
    runs = [int(word) for word in thing.get('rle', '').split(',')]
    mask = np.zeros((height, width), bool)
    mask[top : top + high, left : left + wide] = mask_of_runs(runs, columns=False)(wide, high)
    return mask


def _number(text: str | None) -> Any:
    try:
        return float(text or '')
    except ValueError:
        return text
