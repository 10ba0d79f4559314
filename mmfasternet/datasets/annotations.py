"""A file of COCO annotations, checked and repaired before mmdet and pycocotools meet it.

Everything is checked in one pass over the parsed file. What has one right answer is repaired, as a copy of the file,
which the data sets and the evaluators of a training read in its place: so the repair holds for every reader, wrapper
and process, and mmdet and pycocotools stay as they are. All else is a fault, and ends the training before it starts.
"""

import gc
import json
import locale
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from mmfasternet.errors import UserError
from mmfasternet.files import write_file

from .findings import Findings
from .segmentations import are_runs, measure_polygons, measure_runs, nested, uncompressed

__all__ = [
    'MASKLESS',
    'POLYGONS',
    'RUNS',
    'Annotations',
    'DataError',
    'check_annotations',
    'load_annotations',
    'read_annotations',
    'repaired_copy',
]

#: Kinds of segmentation.
MASKLESS, POLYGONS, RUNS = range(3)

_LISTS = ('images', 'annotations', 'categories')

# How many image sizes outside of its image a box or a polygon may reach: annotation tools let them cross the border,
# but pycocotools draws a polygon of a billion pixels in gigabytes.
_OUTSIDE = 3

# How far a box may differ from its polygons, in pixels; tools round, and draw outlines.
_SLACK = 2.5


# Where the value of one entry begins in what is expected of it.
_VALUE = re.compile(r'\d| \(')


class DataError(UserError):
    """A data set is not where its config says, or its annotations don't match its images."""


@dataclass
class Annotations:
    """What a file holds, in brief: one value per image or per object, in the order of the file."""

    #: The categories, id → name.
    categories: dict
    #: Images: id → number, their files, and their widths and heights.
    images: dict
    file_names: list[str]
    sizes: np.ndarray
    #: Objects: what messages call them, the numbers of their images, the ids of their categories.
    objects: list[str] = field(default_factory=list)
    image_of: list[int] = field(default_factory=list)
    category_of: list = field(default_factory=list)
    #: Objects: x, y, width and height of their boxes, and of the boxes around their polygons (NaN without).
    boxes: Any = field(default_factory=list)
    bounds: Any = field(default_factory=list)
    #: Objects: kind of segmentation; whether they are a crowd; whether mmdet takes them at all.
    masks: Any = field(default_factory=list)
    crowd: Any = field(default_factory=list)
    taken: Any = field(default_factory=list)
    #: What was repaired, and what a user should know besides.
    repairs: list[str] = field(default_factory=list)
    notes: Findings = field(default_factory=Findings)
    #: The repaired copy, once it is written.
    copy: Path | None = None


def read_annotations(path: str | Path) -> Any:
    """Read a JSON file, in UTF-8, UTF-16 or UTF-32.

    Args:
        path: The file.

    Returns:
        What it holds, which may be anything.

    Raises:
        DataError: If it can't be read.

    Example:
        >>> Path('coco.json').write_text('{"images": []}')
        14
        >>> read_annotations('coco.json')
        {'images': []}
    """
    return _decode(path)[0]


def _decode(path: str | Path) -> tuple[Any, list[str]]:
    """What a JSON file holds, and why pycocotools, which takes it for text of this machine, could not read it."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error.strerror})') from error
    encoding, machine = json.detect_encoding(data), locale.getpreferredencoding(False)
    others = []
    if encoding != 'utf-8':
        others.append(f'it is in {encoding.upper()}, which pycocotools does not read')
    elif machine.lower() not in ('utf-8', 'utf8') and not data.isascii():
        others.append(f'it is in UTF-8, and pycocotools reads {machine} on this machine')
    # The garbage collector would look for circles in millions of lists of JSON, which has none.
    collected = gc.isenabled()
    gc.disable()
    try:
        return json.loads(data), others
    except UnicodeDecodeError as error:
        raise DataError(
            f'{path} is not in {encoding.upper()}: byte {error.start} is 0x{data[error.start]:02x}. Convert it from '
            'the encoding that it was written in, such as by `iconv -f LATIN1 -t UTF-8`'
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path} is not JSON, or was cut off: {error}') from error
    finally:
        if collected:
            gc.enable()


# Path, time of change, size, format → what was found; of a small number of files, since a training reads a few.
_known: dict[tuple, Annotations | None] = {}
_KNOWN = 16


def check_annotations(path: str | Path, is_coco: bool = True, folder: str | Path | None = None) -> Annotations | None:
    """Check every value of a file that a detector is trained or tested on. A file that has not changed is read once.

    Args:
        path: The file.
        is_coco: Whether it must be in COCO's format; otherwise another format passes. Defaults to True.
        folder: Where to write a repaired copy at once, since a large file takes long to read again, see
            :func:`repaired_copy`. Defaults to None, which writes none.

    Returns:
        What it holds after its repair, and what was repaired; None for another format.

    Raises:
        DataError: If a number is not finite, a box or a polygon lies far outside of its image, a mask has another size
            than its image, an id is missing, there twice or of nothing, or boxes are corners; the message names
            annotations and values.

    Example:
        >>> image = dict(id=1, file_name='a.png', width=8, height=6)
        >>> box = dict(id=0, image_id=1, category_id=1, bbox=[1, 2, 3, 4], area=12)
        >>> content = dict(images=[image], annotations=[box], categories=[dict(id=1, name='cat')])
        >>> _ = Path('coco.json').write_text(json.dumps(content))
        >>> check_annotations('coco.json').repairs[-1]
        '"iscrowd" was missing in 1 annotation, and is 0'
        >>> box['bbox'][3] = float('nan')
        >>> _ = Path('coco.json').write_text(json.dumps(content))
        >>> try:
        ...     check_annotations('coco.json')
        ... except DataError as error:
        ...     print(error)
        coco.json: annotation 0: "bbox" must be four finite numbers, but is [1, 2, 3, nan]
    """
    key = _key(path, is_coco)
    if key not in _known:
        content, found = _check(path, is_coco)
        if found is not None and found.repairs and is_coco and folder is not None:
            _write_copy(path, content, found, folder)
        _remember(key, found)
    return _known[key]


def load_annotations(path: str | Path) -> dict:
    """Read a file of COCO annotations, checked and repaired.

    Args:
        path: The file.

    Returns:
        What it holds after its repair.

    Raises:
        DataError: As :func:`check_annotations` does.

    Example:
        >>> image = dict(id=1, file_name='a.png', width=8, height=6)
        >>> box = dict(id=0, image_id=1, category_id=1, bbox=[1, 2, 3, 4], area=12)
        >>> content = dict(images=[image], annotations=[box], categories=[dict(id=1, name='cat')])
        >>> _ = Path('coco.json').write_text(json.dumps(content))
        >>> load_annotations('coco.json')['annotations'][0]['iscrowd']
        0
    """
    return _check(path, True)[0]


def repaired_copy(path: str | Path, folder: str | Path) -> Path:
    """The file to read in place of one that needs a repair.

    Args:
        path: A file of COCO annotations.
        folder: Where a copy is written, under a name that tells by its digest what it holds.

    Returns:
        The copy, or the path itself if nothing needs a repair.

    Raises:
        DataError: As :func:`check_annotations` does.
        UserError: If the copy can't be written.

    Example:
        >>> _ = Path('coco.json').write_text('{"images": [], "annotations": [], "categories": []}')
        >>> repaired_copy('coco.json', 'copies')
        PosixPath('coco.json')
    """
    found = check_annotations(path, folder=folder)
    if not found.repairs:
        return Path(path)
    if found.copy is None or found.copy.parent != Path(folder).absolute() or not found.copy.is_file():
        _write_copy(path, _check(path, True)[0], found, folder)
    return found.copy


def _write_copy(path: str | Path, content: dict, found: Annotations, folder: str | Path) -> None:
    data = json.dumps(content).encode()
    found.copy = Path(folder).absolute() / f'{Path(path).stem}_{sha256(data).hexdigest()[:16]}.json'
    if not found.copy.is_file():
        write_file(found.copy, data)
    # The copy need not be read to know that it is in order.
    _remember(_key(found.copy, True), replace(found, repairs=[], notes=Findings(), copy=None))


def _key(path: str | Path, is_coco: bool) -> tuple:
    try:
        state = Path(path).stat()
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error.strerror})') from error
    return str(path), state.st_mtime_ns, state.st_size, is_coco


def _remember(key: tuple, found: Annotations | None) -> None:
    while len(_known) >= _KNOWN:
        del _known[next(iter(_known))]
    _known[key] = found


def _check(path: str | Path, is_coco: bool) -> tuple[Any, Annotations | None]:
    content, repairs = _decode(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in _LISTS):
        if is_coco:
            raise DataError(_other_format(path, content))
        return content, None
    if not is_coco and not any('bbox' in entry for entry in content['annotations'] if isinstance(entry, dict)):
        return content, None  # captions, segments
    faults = Findings()
    if is_coco:
        repairs += _drop_unused_names(content)
    images = _by_id(faults, 'image', content['images'])
    categories = _by_id(faults, 'category', content['categories'])
    for number, category in categories.items():
        if not isinstance(category.get('name'), str) or not category['name']:
            _refuse(faults, f'category {number}', 'name', 'a text', category)
    for number, image in images.items():
        _check_image(faults, f'image {number}', image, is_coco)
    if not faults:
        names = {number: category['name'] for number, category in categories.items()}
        files = [image.get('file_name') for image in images.values()]
        sizes = np.array([(image['width'], image['height']) for image in images.values()], float).reshape(-1, 2)
        found = Annotations(names, {number: index for index, number in enumerate(images)}, files, sizes)
        entries = content['annotations']
        _check_objects(
            faults,
            found,
            entries if is_coco else [entry for entry in entries if isinstance(entry, dict) and 'bbox' in entry],
        )
        repairs += _number(entries) if is_coco and not faults else []
        found.repairs[:0] = repairs
    if not faults:
        _look_at_boxes(faults, found)
    if faults:
        raise DataError(faults.text(str(path)))
    return content, found


def _other_format(path: str | Path, content: Any) -> str:
    """What a file holds that is not COCO's."""
    if isinstance(content, dict):
        lacks = [key for key in _LISTS if not isinstance(content.get(key), list)]
        held = f'it lacks {", ".join(lacks)}' + (f' and has {", ".join(map(repr, [*content][:5]))}' if content else '')
    elif isinstance(content, list) and content and isinstance(content[0], dict) and 'image_id' in content[0]:
        held = 'it is a list of annotations, as of the results of a detector'
    else:
        held = f'it is a {"list" if isinstance(content, list) else type(content).__name__}'
    return (
        f"{path} is not in COCO's format, an object with the lists {', '.join(_LISTS)}: {held}. Export the data set as "
        'COCO JSON'
    )


def _drop_unused_names(content: dict) -> list[str]:
    """Drop categories without objects whose name another category has too, as Roboflow's category of the project."""
    entries = [entry for entry in content['categories'] if isinstance(entry, dict)]
    counts = Counter(entry['name'] for entry in entries if isinstance(entry.get('name'), str))
    doubled = {name for name, count in counts.items() if count > 1}
    if not doubled or len({repr(entry.get('id')) for entry in entries}) < len(entries):
        return []
    used = {repr(entry.get('category_id')) for entry in content['annotations'] if isinstance(entry, dict)}
    dropped = []
    for entry in entries:
        name = entry.get('name')
        if name in doubled and counts[name] > 1 and repr(entry.get('id')) not in used:
            counts[name] -= 1
            dropped.append(entry)
    content['categories'] = [entry for entry in content['categories'] if not any(entry is out for out in dropped)]
    return [
        f'category {entry["id"]}, {entry["name"]!r}, has no object, and its name is that of another one: it is left out'
        for entry in dropped
    ]


def _by_id(faults: Findings, kind: str, entries: list) -> dict[int | str, dict]:
    found = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get('id'), (int, str)):
            faults.add(f'{kind} id', f'{kind} {index} of the list must be an object with an id, but is {entry!r:.200}')
        elif entry['id'] in found:
            faults.add(f'{kind} ids', f'two entries have the {kind} id {entry["id"]!r}; give each its own')
        else:
            found[entry['id']] = entry
    if {str, int} == {type(number) for number in found}:
        faults.add(f'{kind} kinds', f'some of the {kind} ids are numbers and others texts; use numbers')
    return found


def _check_image(faults: Findings, where: str, image: dict, is_coco: bool) -> None:
    if is_coco and (
        not isinstance(image.get('file_name'), str) or not image['file_name'] or '\0' in image['file_name']
    ):
        _refuse(faults, where, 'file_name', 'a text', image)
    for key in ('width', 'height'):
        if not _holds(lambda size: isinstance(size, (int, float)) and 1 <= size < 1e6, image.get(key)):
            _refuse(faults, where, key, 'a number of pixels', image)


def _check_objects(faults: Findings, found: Annotations, entries: list) -> None:
    """Check and repair the annotations one by one."""
    repaired: Counter[str] = Counter()
    sizes = found.sizes.tolist()
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            faults.add('entry', f'annotation {index} of the list must be an object, but is {entry!r:.200}')
            continue
        where = f'annotation {entry["id"]!s:.40}' if 'id' in entry else f'annotation {index} of the list'
        _check_object(partial(_refuse, faults, where), found, sizes, entry, where, repaired)
    for text, count in repaired.items():
        found.repairs.append(text.format(f'{count} annotation{"s" * (count > 1)}'))
    for key, kind in (('boxes', float), ('bounds', float), ('masks', np.int8), ('crowd', bool), ('taken', bool)):
        values = np.array(getattr(found, key), kind)
        setattr(found, key, values.reshape(-1, 4) if kind is float else values)


def _check_object(
    refuse: Callable, found: Annotations, all_sizes: list, entry: dict, where: str, repaired: Counter
) -> None:
    for key, known in (('image_id', found.images), ('category_id', found.categories)):
        number = entry.get(key)
        if not isinstance(number, (int, str, float)) or number not in known:
            near = _other_kind(number)
            refuse(key, 'an id that the file has' + (f' (it has {near!r})' if near in known else ''), entry)
            return
    image = found.images[entry['image_id']]
    width, height = sizes = all_sizes[image]
    runs, size = _check_segmentation(refuse, entry, sizes, repaired)
    if size is None:
        return
    area, bounds = size
    if 'bbox' not in entry and bounds:
        entry['bbox'] = bounds
        repaired['"bbox" was missing in {}, and is the box around the mask'] += 1
    bbox = entry.get('bbox')
    if not _holds(_are_finite, bbox) or len(bbox) != 4:
        refuse('bbox', 'four finite numbers', entry)
        return
    x, y, w, h = bbox
    if not (w >= 0 and h >= 0 and _is_near(x, x + w, width) and _is_near(y, y + h, height)):
        refuse('bbox', f'x, y, width and height of a box in an image of {width:g} × {height:g} pixels', entry)
        return
    if 'area' not in entry:
        entry['area'] = area if area else w * h
        repaired['"area" was missing in {}, and is that of the mask or the box'] += 1
    elif type(entry['area']) not in (int, float) or not 0 <= entry['area'] < math.inf:
        refuse('area', 'a finite number, 0 or more', entry)
        return
    if 'iscrowd' not in entry:
        entry['iscrowd'] = 0
        repaired['"iscrowd" was missing in {}, and is 0'] += 1
    elif entry['iscrowd'] not in (0, 1):
        refuse('iscrowd', '0 or 1', entry)
        return
    found.objects.append(where)
    found.image_of.append(image)
    found.category_of.append(entry['category_id'])
    found.boxes.append(bbox)
    found.bounds.append(bounds if bounds and runs is None else [math.nan] * 4)
    found.masks.append(RUNS if runs is not None else MASKLESS if bounds is None else POLYGONS)
    found.crowd.append(bool(entry['iscrowd']))
    # mmdet leaves out the others.
    inside = min(x + w, width) > max(x, 0) and min(y + h, height) > max(y, 0)
    found.taken.append(inside and w >= 1 and h >= 1 and entry['area'] > 0 and not entry.get('ignore'))


def _other_kind(number: Any) -> Any:
    """An id as a number if it is a text, or as a text if it is a number."""
    return (
        (int(number) if number.isdecimal() and len(number) < 20 else None) if isinstance(number, str) else str(number)
    )


def _check_segmentation(refuse: Callable, entry: dict, sizes: list[float], repaired: Counter) -> tuple:
    """Check and repair a segmentation.

    Returns its run lengths if it has any, and its area and box, which are 0 and None without a mask; or no size after a
    fault.
    """
    segmentation = entry.get('segmentation')
    none = (None, (0, None))
    if not segmentation:
        return none
    width, height = sizes
    if isinstance(segmentation, dict):
        if not _holds(lambda size: list(size) == [height, width], segmentation.get('size')):
            refuse('segmentation', f'run lengths of the size [{height:g}, {width:g}] of its image', entry)
            return None, None
        counts = segmentation.get('counts')
        runs = uncompressed(counts) if isinstance(counts, str) else counts
        if not _holds(lambda runs: are_runs(runs, width * height), runs):
            refuse('segmentation', 'run lengths of all pixels of its image', entry)
            return None, None
        area, bounds = (1, entry.get('bbox')) if {'area', 'bbox'} <= entry.keys() else measure_runs(runs, int(height))
        return runs, (area, bounds)
    if not isinstance(segmentation, list):
        refuse('segmentation', 'polygons or run lengths', entry)
        return None, None
    if not all(isinstance(polygon, list) and len(polygon) > 5 for polygon in segmentation):
        changed = nested(segmentation)
        if changed != segmentation:
            entry['segmentation'] = segmentation = changed
            repaired['"segmentation" of {} is now a list of polygons, those of fewer than three points left out'] += 1
        if not segmentation:
            return none
    for polygon in segmentation:
        if not _holds(_are_finite, polygon):
            refuse('segmentation', 'polygons of finite numbers', entry)
            return None, None
        if len(polygon) % 2:
            refuse('segmentation', 'polygons of x and y in turn, an even number of values', entry)
            return None, None
    area, bounds = measure_polygons(segmentation) if 'area' not in entry else (1, _bounds(segmentation))
    x, y, w, h = bounds
    if not (_is_near(x, x + w, width) and _is_near(y, y + h, height)):
        refuse('segmentation', f'polygons in an image of {width:g} × {height:g} pixels', entry)
        return None, None
    return None, (area, bounds)


def _bounds(polygons: list[list[float]]) -> list[float]:
    first, *others = polygons
    left, top, right, bottom = min(first[::2]), min(first[1::2]), max(first[::2]), max(first[1::2])
    for polygon in others:
        xs, ys = polygon[::2], polygon[1::2]
        left, top, right, bottom = min(left, *xs), min(top, *ys), max(right, *xs), max(bottom, *ys)
    return [left, top, right - left, bottom - top]


def _number(entries: list[dict]) -> list[str]:
    """Number the annotations anew if their ids are not such that pycocotools counts each of them."""
    numbers = [entry.get('id') for entry in entries]
    if all(type(number) is int and number > 0 for number in numbers):
        if len(set(numbers)) == len(numbers):
            return []
        reason = 'some annotation ids were there twice'
    elif any(type(number) is int and number == 0 for number in numbers):
        reason = 'an annotation had the id 0, which pycocotools counts as a miss'
    else:
        reason = 'some annotation ids were missing, or no positive numbers'
    for number, entry in enumerate(entries, 1):
        entry['id'] = number
    return [f'{reason}: the annotations are numbered from 1']


def _look_at_boxes(faults: Findings, found: Annotations) -> None:
    """What only many objects together tell."""
    if not len(found.boxes):
        return
    boxes, sizes = found.boxes, found.sizes[found.image_of]
    has = ~np.isnan(found.bounds[:, 0]) & ~found.crowd
    box, polygon = (np.hstack([wh[:, :2], wh[:, :2] + wh[:, 2:]]) for wh in (boxes, found.bounds))
    turned = (np.abs(boxes - polygon).max(1) <= _SLACK) & (np.abs(box - polygon).max(1) > _SLACK)
    if has.any():
        # Both inside of the image, since a polygon may cross its border where its box does not.
        box, polygon = (np.clip(corners, 0, np.hstack([sizes, sizes])) for corners in (box, polygon))
        off, outside = (
            np.abs(box - polygon).max(1),
            np.hstack([box[:, :2] - polygon[:, :2], polygon[:, 2:] - box[:, 2:]]),
        )
        wide = (polygon[:, 2:] - polygon[:, :2]).max(1)
        wrong = has & (turned | ((off > _SLACK) & (off > 0.25 * wide) & (outside.max(1) > _SLACK)))
        if wrong.sum() > max(1, has.sum() / 2):
            for index in np.flatnonzero(wrong):
                faults.add('boxes', _other_box(found, index))
            return
        for index in np.flatnonzero(has & (off > _SLACK) & (off > 0.05 * wide)):
            text = f'the box {boxes[index].tolist()} is {off[index]:.1f} pixels off its polygons'
            found.notes.add('off', f'{found.objects[index]}: {text}')
    else:
        beyond = (box[:, 2:] > sizes + _SLACK).any(1)
        as_corners = (boxes[:, 2:] > boxes[:, :2]).all(1) & (boxes[:, 2:] <= sizes + _SLACK).all(1)
        if as_corners.all() and beyond.sum() > max(1, len(boxes) / 10):
            for index in np.flatnonzero(beyond):
                faults.add('boxes', _other_box(found, index, 'corners'))
            return
    for index in np.flatnonzero(~found.taken):
        found.notes.add(
            'left out',
            f'{found.objects[index]} is left out: its box {boxes[index].tolist()} has no size or lies outside of the '
            f'image of {sizes[index][0]:g} × {sizes[index][1]:g} pixels, or its area is 0',
        )
    doubled = [name for name, count in Counter(found.file_names).items() if name is not None and count > 1]
    for name in doubled:
        found.notes.add('files', f'several images have the file_name {name!r}: each trains on its own objects alone')


def _other_box(found: Annotations, index: int, form: str = '') -> str:
    """That a box is no x, y, width and height, and what it seems to be."""
    box, (x, y, w, h) = found.boxes[index], found.bounds[index]
    cure = 'remove "bbox" from all annotations, and the boxes are taken from the polygons'
    if form == 'corners' or np.abs(box - [x, y, x + w, y + h]).max() <= _SLACK:
        what, cure = 'are the corners of the box', 'subtract the first two numbers from the last two'
    elif np.abs(box - [x + w / 2, y + h / 2, w, h]).max() <= _SLACK:
        what, cure = 'are its centre and size', 'subtract half of the last two numbers from the first two'
    else:
        what = f'is not the box of its polygons, {[round(float(value), 2) for value in (x, y, w, h)]}'
    return f'{found.objects[index]}: "bbox" must be x, y, width and height, but {box.tolist()} {what}; {cure}'


def _holds(check: Callable[[Any], bool], value: Any) -> bool:
    """Whether a check holds for a value, which may be of a type that it is not for."""
    try:
        return bool(check(value))
    except (TypeError, ValueError, OverflowError, AttributeError):
        return False


def _are_finite(numbers: list) -> bool:
    # A sum is finite if all of its numbers are, and is no number if one of them is a text.
    return isinstance(numbers, list) and math.isfinite(sum(numbers))


def _is_near(low: float, high: float, size: float) -> bool:
    return low >= -_OUTSIDE * size and high <= (1 + _OUTSIDE) * size


def _refuse(faults: Findings, where: str, key: str, expected: str, entry: dict) -> None:
    def example() -> str:
        value = repr(entry[key]) if key in entry else 'missing'
        return f'{where}: "{key}" must be {expected}, but is {value[:200]}{"…" * (len(value) > 200)}'

    # What comes before the first value.
    faults.add(f'{key} {_VALUE.split(expected)[0]}', example)
