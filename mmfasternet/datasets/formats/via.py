"""The JSON of the VGG Image Annotator 1 and 2. Frame: upright, as a browser shows images; no size is stated."""

from collections import Counter
from typing import Any

from mmfasternet.datasets.annotations import read_annotations

from .files import SourceFiles, split_of, split_of_file
from .geometry import ellipse
from .parse import as_dict, as_list
from .source import Notes, Record, Shape

__all__ = ['is_via', 'read_via']

# Usual names of the attribute that holds the class, before any other.
_CLASS = ('class', 'label', 'name', 'type', 'category', 'object', 'class_name')


def is_via(content: Any) -> bool:
    """Whether a JSON's content is VIA's: a project, or its annotations.

    Args:
        content: What the JSON holds.

    Returns:
        Whether it is.

    Example:
        >>> is_via({'a.png10': dict(filename='a.png', size=10, regions=[])})
        True
    """
    return bool(_entries(content))


def read_via(files: SourceFiles, notes: Notes) -> tuple[list[Record], list[str]]:
    """Read every VIA JSON below a source.

    Args:
        files: The source.
        notes: What is repaired or left out is noted here.

    Returns:
        The images, and the classes in alphabetical order.
    """
    found, records = [], []
    for path in files.ending('.json'):
        entries = _entries(read_annotations(files.root / path))
        if entries:
            found += [(path, entry) for entry in entries]
        else:
            notes.leave_out("JSON that is not in VIA's format", path)
    attribute = _class_attribute([region for _, entry in found for region in _regions(entry)], notes)
    for path, entry in found:
        name, split = str(entry['filename']), split_of_file(path)
        image = files.find_image(name, path.parent, split)
        record = Record(name, image, [], None, split or (image and split_of(image)))
        for number, region in enumerate(_regions(entry), 1):
            label = _label(as_dict(region.get('region_attributes')), attribute)
            shape = _shape(as_dict(region.get('shape_attributes')), label, f'{path}: {name}, region {number}', notes)
            if shape:
                record.shapes.append(shape)
        records.append(record)
    classes = sorted({shape.label for record in records for shape in record.shapes} - {''})
    if len(classes) == 1:
        for shape in (shape for record in records for shape in record.shapes if not shape.label):
            shape.label = classes[0]
            notes.repair('region without a class, of a source that has a single one', shape.where)
    return records, classes


def _entries(content: Any) -> list[dict]:
    if isinstance(content, dict) and '_via_img_metadata' in content:
        content = content['_via_img_metadata']
    entries = list(content.values()) if isinstance(content, dict) else []
    fits = all(isinstance(entry, dict) and 'filename' in entry and 'regions' in entry for entry in entries)
    return entries if fits else []


def _regions(entry: dict) -> list[dict]:
    regions = entry['regions']  # a dict in version 1
    return list(map(as_dict, regions.values() if isinstance(regions, dict) else as_list(regions)))


def _class_attribute(regions: list[dict], notes: Notes) -> str | None:
    """The attribute that holds the class: one of the usual names, else the one that is set most often."""
    attributes = [as_dict(region.get('region_attributes')) for region in regions]
    counts = Counter(name for held in attributes for name, value in held.items() if value)
    if not counts:
        notes.remarks.append("VIA's regions have no attributes: their only class is called object")
        return None
    names = sorted(counts, key=lambda name: (name.lower() not in _CLASS, -counts[name]))
    others = f'; the others, {", ".join(map(str, names[1:]))}, are not read' if names[1:] else ''
    notes.remarks.append(f'the class is the attribute {names[0]} of a region{others}')
    return names[0]


def _label(attributes: dict, attribute: str | None) -> str:
    if attribute is None:
        return 'object'
    value = attributes.get(attribute)
    if isinstance(value, dict):  # of check boxes
        ticked = [name for name, is_ticked in value.items() if is_ticked]
        return ticked[0] if len(ticked) == 1 else ''
    return str(value or '').strip()


def _shape(attributes: dict, label: str, where: str, notes: Notes) -> Shape | None:
    kind = attributes.get('name')
    try:
        if kind == 'polygon':
            points = zip(attributes['all_points_x'], attributes['all_points_y'], strict=True)
            return Shape(label, where, polygons=[[value for point in points for value in point]])
        if kind == 'rect':
            x, y, width, height = (attributes[key] for key in ('x', 'y', 'width', 'height'))
            return Shape(label, where, [x, y, x + width, y + height])
        if kind == 'circle':
            return Shape(label, where, polygons=[ellipse(attributes['cx'], attributes['cy'], attributes['r'])])
        if kind == 'ellipse' and not attributes.get('theta'):
            return Shape(label, where, polygons=[ellipse(*(attributes[key] for key in ('cx', 'cy', 'rx', 'ry')))])
    except (KeyError, TypeError, ValueError):
        notes.leave_out(f'shape of the type {kind} whose numbers are missing', where)
        return None
    turned = ' that is turned' if kind == 'ellipse' else ''
    notes.leave_out(f'shape of the type {str(kind)[:40]}{turned}, which is neither a box nor a mask', where)
    return None
