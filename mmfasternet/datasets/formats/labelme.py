"""LabelMe's JSON, one file for each image. Frame: the stated size tells it, else upright, as LabelMe shows images."""

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import numpy as np

from mmfasternet.datasets.annotations import read_annotations
from mmfasternet.datasets.images import open_image
from mmfasternet.errors import UserError

from .files import SourceFiles, split_of
from .geometry import ellipse
from .parse import as_dict, as_list
from .source import Notes, Record, Shape

__all__ = ['is_labelme', 'read_labelme']


def is_labelme(content: Any) -> bool:
    """Whether a JSON's content is LabelMe's.

    Args:
        content: What the JSON holds.

    Returns:
        Whether it is.

    Example:
        >>> is_labelme(dict(shapes=[], imagePath='a.png'))
        True
    """
    return isinstance(content, dict) and isinstance(content.get('shapes'), list) and 'imagePath' in content


def read_labelme(files: SourceFiles, notes: Notes) -> tuple[list[Record], list[str]]:
    """Read every LabelMe JSON below a source. The image data inside is not read: the images must be there as files.

    Args:
        files: The source.
        notes: What is repaired or left out is noted here.

    Returns:
        The images, and the classes in alphabetical order.
    """
    records = []
    for path in files.ending('.json'):
        try:
            content = read_annotations(files.root / path)
        except UserError as error:
            notes.bad.append(str(error))
            continue
        if is_labelme(content):
            records.append(_read(path, content, files, notes))
        else:
            notes.leave_out("JSON that is not in LabelMe's format", path)
    return records, sorted({shape.label for record in records for shape in record.shapes})


def _read(path: Path, content: dict, files: SourceFiles, notes: Notes) -> Record:
    name, split = str(content['imagePath']), split_of(path)
    found = files.find_image(name, path.parent, split) or files.find_image(path.stem, path.parent, split)
    size = content.get('imageWidth'), content.get('imageHeight')
    size = size if all(isinstance(side, int) and 0 < side < 1e6 for side in size) else None
    record = Record(name, found, [], size, split or (found and split_of(found)))
    groups: dict[tuple[str, str], Shape] = {}
    for number, entry in enumerate(map(as_dict, content['shapes']), 1):
        shape = _shape(entry, f'{path}: shape {number}', notes)
        if shape is None:
            continue
        if entry.get('group_id') is None:
            record.shapes.append(shape)
            continue
        first = groups.setdefault((shape.label, str(entry['group_id'])), shape)
        if first is shape:
            record.shapes.append(shape)
        else:
            _join(first, shape, notes)
    return record


def _shape(entry: dict, where: str, notes: Notes) -> Shape | None:
    label, kind = str(entry.get('label') or '').strip(), entry.get('shape_type') or 'polygon'
    points = [point for point in as_list(entry.get('points')) if isinstance(point, list) and len(point) == 2]
    flat = [value for point in points for value in point]
    if kind == 'polygon':
        return Shape(label, where, polygons=[flat])
    if kind == 'rectangle' and len(points) in (2, 4):
        # Newer versions of its descendants write all four corners.
        try:
            xs, ys = flat[::2], flat[1::2]
            corners = flat if len(points) == 2 else [min(xs), min(ys), max(xs), max(ys)]
        except TypeError:
            corners = flat
        return Shape(label, where, _sorted_corners(corners))
    if kind == 'circle' and len(points) == 2:
        try:
            (x, y), rim = points
            return Shape(label, where, polygons=[ellipse(x, y, float(np.hypot(rim[0] - x, rim[1] - y)))])
        except (TypeError, OverflowError):
            return Shape(label, where, polygons=[flat])
    if kind == 'mask' and len(points) == 2 and isinstance(entry.get('mask'), str):
        return Shape(label, where, mask=lambda width, height: _pasted(entry['mask'], flat, width, height))
    notes.leave_out(f'shape of the type {str(kind)[:40]}, which is neither a box nor a mask', where)
    return None


def _sorted_corners(corners: list) -> list:
    """A rectangle may be drawn from any of its corners, which is no fault."""
    try:
        (left, right), (top, bottom) = sorted(corners[::2]), sorted(corners[1::2])
    except TypeError:
        return corners
    return [left, top, right, bottom]


def _join(first: Shape, other: Shape, notes: Notes) -> None:
    """Shapes of one group and one label are the parts of one object."""
    if first.mask or other.mask or bool(first.box) != bool(other.box):
        notes.leave_out('part of a group of shapes of several types', other.where)
    elif first.box and other.box:
        try:
            lows, highs = map(min, first.box[:2], other.box[:2]), map(max, first.box[2:], other.box[2:])
            first.box = [*lows, *highs]
        except TypeError:
            notes.leave_out('part of a group that is not four numbers', other.where)
    else:
        first.polygons += other.polygons


def _pasted(text: str, corners: list, width: int, height: int) -> np.ndarray:
    """A PNG of a part of the image, pasted in its place."""
    left, top = round(min(corners[::2])), round(min(corners[1::2]))
    try:
        with open_image(io.BytesIO(base64.b64decode(text, validate=True))) as image:
            fits = image.size[0] <= width and image.size[1] <= height
            part = np.asarray(image.convert('L')) > 0 if fits else None
    except (binascii.Error, UserError) as error:
        raise ValueError('it is not a PNG in base64') from error
    if part is None:
        raise ValueError('it is larger than its image')
    mask = np.zeros((height, width), bool)
    if left < 0 or top < 0:
        raise ValueError('it starts outside of its image')
    room = mask[top : top + part.shape[0], left : left + part.shape[1]]
    room[:] = part[: room.shape[0], : room.shape[1]]
    return mask
