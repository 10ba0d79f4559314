"""The values in a file of COCO annotations, checked before mmdet and pycocotools meet them."""

import json
import math
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from mmfasternet.errors import UserError

__all__ = ['DataError', 'check_annotations', 'read_annotations']

# How many image sizes outside of its image a box or a polygon may reach: annotation tools let them cross the border,
# but pycocotools draws a polygon of a billion pixels in gigabytes.
_OUTSIDE = 3


class DataError(UserError):
    """A data set is not where its config says, or its annotations don't match its images."""


def read_annotations(path: str | Path) -> Any:
    """Read a JSON file.

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
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error.strerror})') from error
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path} is not JSON, or was cut off: {error}') from error


def check_annotations(path: str | Path, is_coco: bool = True) -> dict[int, str]:
    """Check every value of a file that a detector is trained or tested on. A file that has not changed is read once.

    Args:
        path: The file.
        is_coco: Whether it must be in COCO's format; otherwise another format passes. Defaults to True.

    Returns:
        The categories, id → name; none for another format.

    Raises:
        DataError: If a number is not finite, a box or a polygon lies far outside of its image, a mask has another size
            than its image, an id is missing or there twice; the message names the annotation and the value.

    Example:
        >>> image = dict(id=1, file_name='a.png', width=8, height=6)
        >>> box = dict(id=1, image_id=1, category_id=1, bbox=[1, 2, 3, float('nan')], area=1, iscrowd=0)
        >>> content = dict(images=[image], annotations=[box], categories=[dict(id=1, name='cat')])
        >>> _ = Path('coco.json').write_text(json.dumps(content))
        >>> try:
        ...     check_annotations('coco.json')
        ... except DataError as error:
        ...     print(error)
        coco.json: annotation 1: "bbox" must be four finite numbers, but is [1, 2, 3, nan]
    """
    path = Path(path)
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error.strerror})') from error
    return dict(_checked(path, state.st_mtime_ns, state.st_size, is_coco))


# Of a small number of files, since a training and its validation read two.
@lru_cache(maxsize=16)
def _checked(path: Path, changed: int, size: int, is_coco: bool) -> tuple[tuple[int, str], ...]:
    content = read_annotations(path)
    lists = ('images', 'annotations', 'categories')
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in lists):
        if is_coco:
            raise DataError(f"{path} is not in COCO's format, an object with the lists {', '.join(lists)}")
        return ()
    if not is_coco and not any('bbox' in entry for entry in content['annotations'] if isinstance(entry, dict)):
        return ()  # captions, segments
    images = _by_id(path, 'image', content['images'])
    categories = _by_id(path, 'category', content['categories'])
    for number, category in categories.items():
        if not isinstance(category.get('name'), str) or not category['name']:
            _refuse(path, f'category {number}', 'name', 'a text', category)
    for number, image in images.items():
        where = f'image {number}'
        if is_coco and not isinstance(image.get('file_name'), str):
            _refuse(path, where, 'file_name', 'a text', image)
        for key in ('width', 'height'):
            if not _holds(lambda size: isinstance(size, (int, float)) and 1 <= size < 1e6, image.get(key)):
                _refuse(path, where, key, 'a number of pixels', image)
    for number, annotation in _by_id(path, 'annotation', content['annotations']).items():
        if is_coco or 'bbox' in annotation:
            _check_annotation(partial(_refuse, path, f'annotation {number}'), annotation, images, categories)
    return tuple((number, category['name']) for number, category in categories.items())


def _by_id(path: Path, kind: str, entries: list) -> dict[int | str, dict]:
    found = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get('id'), (int, str)):
            raise DataError(f'{path}: {kind} {index} of the list must be an object with an id, but is {entry!r:.200}')
        if entry['id'] in found:
            raise DataError(f'{path}: two entries have the {kind} id {entry["id"]!r}')
        found[entry['id']] = entry
    return found


def _check_annotation(refuse: Callable, annotation: dict, images: dict, categories: dict) -> None:
    for key, known in (('image_id', images), ('category_id', categories)):
        if not _holds(known.__contains__, annotation.get(key)):
            refuse(key, 'an id that the file has', annotation)
    image = images[annotation['image_id']]
    sizes = image['width'], image['height']
    bbox = annotation.get('bbox')
    if not _holds(_are_finite, bbox) or len(bbox) != 4:
        refuse('bbox', 'four finite numbers', annotation)
    corners = zip(bbox[:2], bbox[2:], sizes, strict=True)
    if not all(side >= 0 and _is_near([low, low + side], size) for low, side, size in corners):
        refuse('bbox', f'x, y, width and height of a box in an image of {sizes[0]} × {sizes[1]} pixels', annotation)
    if not _holds(lambda area: math.isfinite(area) and area >= 0, annotation.get('area', 0)):
        refuse('area', 'a finite number, 0 or more', annotation)
    if not _holds(lambda flag: flag in (0, 1), annotation.get('iscrowd', 0)):
        refuse('iscrowd', '0 or 1', annotation)
    _check_segmentation(refuse, annotation, sizes)


def _check_segmentation(refuse: Callable, annotation: dict, sizes: tuple[float, float]) -> None:
    segmentation = annotation.get('segmentation')
    if not segmentation:
        return
    width, height = sizes
    if isinstance(segmentation, dict):
        if not _holds(lambda size: list(size) == [height, width], segmentation.get('size')):
            refuse('segmentation', f'run lengths of the size [{height}, {width}] of its image', annotation)
        counts = segmentation.get('counts')
        runs = _uncompressed(counts) if isinstance(counts, str) else counts
        if not _holds(lambda runs: _are_runs(runs, width * height), runs):
            refuse('segmentation', 'run lengths of all pixels of its image', annotation)
        return
    if not isinstance(segmentation, list):
        refuse('segmentation', 'polygons or run lengths', annotation)
    for polygon in segmentation:
        if not _holds(_are_finite, polygon):
            refuse('segmentation', 'polygons of finite numbers', annotation)
        if not all(_is_near(polygon[axis::2], size) for axis, size in enumerate(sizes)):
            refuse('segmentation', f'polygons in an image of {width} × {height} pixels', annotation)


def _holds(check: Callable[[Any], bool], value: Any) -> bool:
    """Whether a check holds for a value, which may be of a type that it is not for."""
    try:
        return bool(check(value))
    except (TypeError, ValueError, OverflowError, AttributeError):
        return False


def _are_finite(numbers: list) -> bool:
    # A sum is finite if all of its numbers are, and is no number if one of them is a text.
    return isinstance(numbers, list) and math.isfinite(sum(numbers))


def _are_runs(counts: list, pixels: float) -> bool:
    return sum(counts) == pixels and min(counts) >= 0


def _uncompressed(text: str) -> list[int] | None:
    """The run lengths in pycocotools' text, which it reads without looking at the end of the mask or of the text."""
    runs, value, shift = [], 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 60:
            return None
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            # The fifth bit is the sign; from the third run on, the text has the difference to the one before the last.
            value -= (code & 16) // 16 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    return None if shift else runs


def _is_near(numbers: list, size: float) -> bool:
    return not numbers or (min(numbers) >= -_OUTSIDE * size and max(numbers) <= (1 + _OUTSIDE) * size)


def _refuse(path: Path, where: str, key: str, expected: str, entry: dict) -> None:
    value = repr(entry[key]) if key in entry else 'missing'
    raise DataError(f'{path}: {where}: "{key}" must be {expected}, but is {value[:200]}{"…" * (len(value) > 200)}')
