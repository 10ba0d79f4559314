"""COCO's JSON, as COCO, Roboflow, CVAT, Label Studio, VIA and others write it. Frame: the stated size tells it."""

from pathlib import Path
from typing import Any

from mmfasternet.datasets.annotations import read_annotations
from mmfasternet.datasets.segmentations import uncompressed

from .files import SourceFiles, split_of, split_of_file
from .geometry import mask_of_runs
from .parse import as_dict, as_list
from .source import Notes, Record, Shape

__all__ = ['is_coco', 'read_coco']


def is_coco(content: Any) -> bool:
    """Whether a JSON's content has COCO's lists.

    Args:
        content: What the JSON holds.

    Returns:
        Whether it is.

    Example:
        >>> is_coco(dict(images=[], annotations=[]))
        True
    """
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ('images', 'annotations'))


def read_coco(files: SourceFiles, notes: Notes) -> tuple[list[Record], list[str]]:
    """Read every COCO JSON below a source.

    Args:
        files: The source.
        notes: What is repaired or left out is noted here.

    Returns:
        The images, and the classes in the order of the categories.
    """
    records, classes = [], {}
    paths = files.ending('.json')
    # COCO's own folder has the same images in files of captions, keypoints and instances.
    instances = [path for path in paths if path.name.lower().startswith('instances')]
    for path in paths:
        content = read_annotations(files.root / path)
        if not is_coco(content):
            notes.leave_out("JSON that is not in COCO's format", path)
        elif instances and path not in instances:
            notes.leave_out('JSON beside those named instances…', path)
        elif content['annotations'] and not any('bbox' in as_dict(entry) for entry in content['annotations']):
            notes.leave_out('COCO JSON without boxes (captions, or panoptic segments)', path)
        else:
            records += _read(path, content, files, notes, classes)
    return records, list(classes)


def _read(path: Path, content: dict, files: SourceFiles, notes: Notes, classes: dict[str, None]) -> list[Record]:
    names = {}
    for entry in map(as_dict, as_list(content.get('categories'))):
        # Tools of the web write ids as texts, and refer to them by numbers.
        names[str(entry.get('id'))] = str(entry.get('name', ''))
    classes.update(dict.fromkeys(names.values()))
    split = split_of_file(path)
    records = {}
    for entry in map(as_dict, content['images']):
        number, name = str(entry.get('id')), str(entry.get('file_name', ''))
        if number in records:
            notes.leave_out('image whose id another has', f'{path}: image {number}, {name}')
            continue
        size = (entry.get('width'), entry.get('height'))
        size = size if all(isinstance(side, (int, float)) and 0 < side < 1e6 for side in size) else None
        found = files.find_image(name, path.parent, split)
        own = split or (found and split_of(found))
        records[number] = Record(name, found, [], size and (round(size[0]), round(size[1])), own)
    numbers = set()
    for index, entry in enumerate(content['annotations']):
        entry = as_dict(entry)
        where = f'{path}: annotation {entry.get("id", f"at place {index}")}'
        record, label = records.get(str(entry.get('image_id'))), names.get(str(entry.get('category_id')))
        if record is None:
            notes.leave_out('object of an image that the file does not have', where)
        elif label is None:
            notes.leave_out('object of a category that the file does not have', where)
        else:
            if str(entry.get('id')) in numbers:
                notes.repair('annotation id that occurs twice, numbered anew', where)
            numbers.add(str(entry.get('id')))
            if any(as_list(entry.get('keypoints'))):
                notes.leave_out('keypoints of an object, whose box and mask are kept', where)
            if len(as_list(entry.get('bbox'))) == 5:
                notes.leave_out('rotated box', where)
            else:
                record.shapes.append(_shape(entry, label, where, notes))
    return list(records.values())


def _shape(entry: dict, label: str, where: str, notes: Notes) -> Shape:
    shape = Shape(label, where, _corners(entry.get('bbox')), crowd=entry.get('iscrowd') in (1, '1', True))
    segmentation = entry.get('segmentation')
    if isinstance(segmentation, dict):
        counts = segmentation.get('counts')
        runs = uncompressed(counts) or [] if isinstance(counts, str) else as_list(counts)
        shape.mask = mask_of_runs(runs)
    elif isinstance(segmentation, list) and segmentation:
        if not isinstance(segmentation[0], list):
            notes.repair('segmentation that is one polygon rather than a list of polygons', where)
            segmentation = [segmentation]
        shape.polygons = segmentation
    elif segmentation:
        notes.leave_out('segmentation that is neither polygons nor run lengths', where)
    return shape


def _corners(bbox: Any) -> list | None:
    """x and y of two corners; what is no box stays as it is, to be named."""
    if bbox is None or bbox == []:
        return None
    try:
        x, y, width, height = bbox
        return [x, y, x + width, y + height]
    except (TypeError, ValueError):
        return [bbox]
