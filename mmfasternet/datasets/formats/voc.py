"""VOC's XML, one file for each image, and its object masks. Frame: the stated size tells it, else upright."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from mmfasternet.datasets.images import open_image
from mmfasternet.errors import UserError

from .files import SourceFiles, split_of
from .geometry import overlap
from .parse import read_lines, read_xml
from .source import Notes, Record, Shape

__all__ = ['is_voc', 'read_lists', 'read_voc']

_LISTS = ('train', 'val', 'test')


def is_voc(root: ElementTree.Element) -> bool:
    """Whether an XML's root is VOC's.

    Args:
        root: The root element.

    Returns:
        Whether it is.

    Example:
        >>> is_voc(ElementTree.fromstring('<annotation><object/></annotation>'))
        True
    """
    # LabelMe's web tool has the same root.
    return root.tag == 'annotation' and root.find('imagesize') is None and root.find('object/deleted') is None


def read_voc(files: SourceFiles, notes: Notes) -> tuple[list[Record], list[str]]:
    """Read every VOC XML below a source.

    Args:
        files: The source.
        notes: What is repaired or left out is noted here.

    Returns:
        The images, and the classes in alphabetical order.
    """
    splits, records = read_lists(files, notes, 'Main'), []
    drawn = {path.stem: path for path in files.images if path.parent.name == 'SegmentationObject'}
    files.set_aside(path for path in files.images if path.parent.name in ('SegmentationObject', 'SegmentationClass'))
    for path in files.ending('.xml'):
        try:
            root = read_xml(files.root / path)
        except UserError as error:
            notes.bad.append(str(error))
            continue
        if not is_voc(root):
            notes.leave_out("XML that is not in VOC's format", path)
            continue
        record = _read(path, root, files, notes)
        if path.stem in drawn:
            _add_masks(record, files.root / drawn[path.stem], notes)
        if splits:
            record.split = splits.get(path.stem)
        records.append(record)
    return records, sorted({shape.label for record in records for shape in record.shapes})


def read_lists(files: SourceFiles, notes: Notes, folder: str) -> dict[str, str]:
    """Read the lists of the images of each split in ``ImageSets``.

    Args:
        files: The source.
        notes: A name in two lists is noted here.
        folder: The one in ``ImageSets`` whose lists are taken, if it has any; else those of all others are.

    Returns:
        Name of an image, without its ending → its split; empty if there are no lists.
    """
    lists = [path for path in files.ending('.txt') if path.parent.parent.name == 'ImageSets' and path.stem in _LISTS]
    main = [path for path in lists if path.parent.name == folder] or lists
    splits: dict[str, str] = {}
    for path in sorted(main, key=lambda path: _LISTS.index(path.stem)):
        for line in read_lines(files.root / path):
            name = line.replace('\\', '/').rpartition('/')[2]
            if splits.setdefault(name, path.stem) != path.stem:
                notes.leave_out(f'name in two lists, kept in {splits[name]}', f'{path}: {name}')
    return splits


def _read(path: Path, root: ElementTree.Element, files: SourceFiles, notes: Notes) -> Record:
    name = (root.findtext('filename') or '').strip() or path.stem
    split = split_of(path)
    found = files.find_image(name, path.parent, split)
    if found is None or found.stem.casefold() != path.stem.casefold():
        # The file's own name tells which image it is for; the name inside is often that of a copied file.
        own = files.find_image(path.stem, path.parent, split)
        if own and found:
            notes.repair('<filename> of another image; the one with the name of the XML is taken', f'{path}: {name}')
        found = own or found
    try:
        size = round(float(root.findtext('size/width', '0'))), round(float(root.findtext('size/height', '0')))
    except (ValueError, OverflowError):
        size = (0, 0)
    if not all(size):
        notes.repair('<size> absent or 0, taken from the image', path)
    record = Record(name, found, [], size if all(size) else None, split or (found and split_of(found)))
    for number, thing in enumerate(root.findall('object'), 1):
        where = f'{path}: object {number}'
        label = (thing.findtext('name') or '').strip()
        box = thing.find('bndbox')
        polygon = thing.find('polygon')
        if thing.find('robndbox') is not None:
            notes.leave_out('rotated box', where)
        elif box is None and polygon is None:
            notes.leave_out('object without <bndbox>', where)
        else:
            if (thing.findtext('difficult') or '').strip() == '1':
                notes.notice('object marked as difficult, read as any other', where)
            corners = (
                [_number(box.findtext(key)) for key in ('xmin', 'ymin', 'xmax', 'ymax')] if box is not None else None
            )
            record.shapes.append(Shape(label, where, corners, [_points(polygon)] if polygon is not None else []))
    return record


def _points(polygon: ElementTree.Element) -> list:
    """Roboflow's <x1>, <y1>, <x2>, …"""
    numbers = []
    while (x := polygon.find(f'x{len(numbers) // 2 + 1}')) is not None:
        numbers += [_number(x.text), _number(polygon.findtext(f'y{len(numbers) // 2 + 1}'))]
    return numbers


def _number(text: str | None) -> Any:
    try:
        return float(text or '')
    except ValueError:
        return text


def _add_masks(record: Record, path: Path, notes: Notes) -> None:
    """In SegmentationObject, a pixel has the place of its object in the XML, as a number or as VOC's colour of it."""
    try:
        with open_image(path) as image:
            ids = np.asarray(image)
    except UserError as error:
        notes.bad.append(str(error))
        return
    if ids.ndim == 3:
        ids = _values_of_colours(ids[..., :3])
    by_place = {shape.where.rpartition(' ')[2]: shape for shape in record.shapes}
    for value in np.unique(ids[(ids > 0) & (ids < 255)]):
        mask = ids == value
        # Some tools count otherwise, so the mask must lie where the box is.
        ordered = [by_place[str(value)]] if str(value) in by_place else []
        fitting = (shape for shape in [*ordered, *record.shapes] if not shape.mask and _fits(shape, mask))
        if shape := next(fitting, None):
            shape.mask = _drawer(mask)
        else:
            notes.leave_out('object in a mask that fits no box of the XML', f'{path}: value {value}')


def _values_of_colours(pixels: np.ndarray) -> np.ndarray:
    """VOC's palette: the bits of a value are dealt to red, green and blue, the highest first. Other colours are 255."""
    values = np.arange(256)
    bits = [sum((values >> (3 * place + channel) & 1) << (7 - place) for place in range(3)) for channel in range(3)]
    palette = bits[0] << 16 | bits[1] << 8 | bits[2]
    order = np.argsort(palette)
    codes = pixels.astype(np.int64) @ [1 << 16, 1 << 8, 1]
    found = order[np.searchsorted(palette[order], codes).clip(max=255)]
    return np.where(palette[found] == codes, found, 255)


def _fits(shape: Shape, mask: np.ndarray) -> bool:
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    try:
        return overlap(shape.box, [xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]) >= 0.5
    except (TypeError, ValueError):
        return False


def _drawer(mask: np.ndarray) -> Any:
    def draw(width: int, height: int) -> np.ndarray:
        if mask.shape != (height, width):
            raise ValueError(f'it has {mask.shape[1]} × {mask.shape[0]} pixels')
        return mask

    return draw
