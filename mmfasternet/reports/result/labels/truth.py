"""The truth that a segmentor or classifier is compared with, and what it has predicted, every value checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmfasternet.datasets.annotations import read_annotations
from mmfasternet.datasets.formats import read_summary
from mmfasternet.datasets.images import open_image
from mmfasternet.errors import UserError

__all__ = ['ImageList', 'read_class_list', 'read_image_list', 'read_map_pairs', 'read_pair', 'read_scores']

_LARGEST = 2**30  # bytes of a file of scores
_OFF = 0.01  # by which the scores of an image may miss a sum of 1


@dataclass(frozen=True)
class ImageList:
    """The images of a split.

    Args:
        classes: Names of the classes.
        files: The images, from the folder of the source on.
        labels: Of each image, the number of its class, int (N,); None of images with semantic maps.
        maps: Folder of the semantic maps; None of images with a class.
    """

    classes: list[str]
    files: list[str]
    labels: np.ndarray | None = None
    maps: Path | None = None


def read_image_list(path: str | Path) -> ImageList:
    """Read a list of images with semantic maps.

    Args:
        path: Such as ``semantic/val.txt``, as :func:`~mmfasternet.datasets.formats.convert_maps` has written it.

    Returns:
        The images, and the folder of their maps.

    Raises:
        UserError: If it can't be read, or names no image.

    Example:
        >>> from mmfasternet.datasets import make_shapes
        >>> from mmfasternet.datasets.formats import convert_maps
        >>> _ = convert_maps(make_shapes('shapes', num_train=4, num_val=2), 'mine')
        >>> read_image_list('mine/semantic/val.txt').files
        ['val/000001.png', 'val/000002.png']
    """
    path = Path(path)
    return ImageList(_classes(path), _lines(path), maps=path.with_suffix(''))


def read_class_list(path: str | Path) -> ImageList:
    """Read a list of images with a class each.

    Args:
        path: Such as ``labels/val.txt``, as :func:`~mmfasternet.datasets.formats.convert_classes` has written it.

    Returns:
        The images and their classes.

    Raises:
        UserError: If it can't be read, names no image, or a number that no class has.

    Example:
        >>> from mmfasternet.datasets import make_crops, make_shapes
        >>> from mmfasternet.datasets.formats import convert_classes
        >>> _ = convert_classes(make_crops(make_shapes('shapes', num_train=9, num_val=9), 'crops'), 'mine')
        >>> read_class_list('mine/labels/val.txt').labels[:3].tolist()
        [0, 0, 0]
    """
    path, classes = Path(path), _classes(Path(path))
    files, labels = [], []
    for number, line in enumerate(_lines(path), 1):
        file, _, label = line.rpartition(' ')
        if not (file and label.isascii() and label.isdigit() and int(label) < len(classes)):
            raise UserError(f'{path}, line {number}: expected an image and a number below {len(classes)}, got {line!r}')
        files.append(file)
        labels.append(int(label))
    return ImageList(classes, files, labels=np.array(labels))


def read_map_pairs(truth: ImageList, predictions: str | Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read the true and the predicted map of each image.

    Args:
        truth: The images.
        predictions: Folder of the predicted maps, as ``tools/test.py --out`` writes it.

    Yields:
        See :func:`read_pair`.

    Raises:
        UserError: If one can't be read, has another size than the other, or a number that no class has.
    """
    for file in truth.files:
        yield read_pair(truth, predictions, file)


def read_pair(truth: ImageList, predictions: str | Path, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the true and the predicted map of an image.

    Args:
        truth: The images.
        predictions: Folder of the predicted maps.
        file: One of the images.

    Returns:
        The number of each pixel's class, uint8 (H, W) each; what is ignored has a higher number in the truth.

    Raises:
        UserError: As :func:`read_map_pairs`.
    """
    true, path = _read_map(Path(truth.maps, f'{file}.png')), Path(predictions, file).with_suffix('.png')
    if not path.is_file():
        raise UserError(f'{path} is missing; give the folder that tools/test.py --out wrote for the same images')
    found = _read_map(path)
    if found.shape != true.shape:
        sizes = ' and '.join(f'{of.shape[1]} × {of.shape[0]}' for of in (found, true))
        raise UserError(f'{path} and the true map have {sizes} pixels; predictions must have the size of their images')
    if found.max(initial=0) >= len(truth.classes):
        raise UserError(f'{path} has the number {found.max()}, but there are {len(truth.classes)} classes from 0 on')
    return true, found


def read_scores(path: str | Path, truth: ImageList) -> np.ndarray:
    """Read a classifier's scores.

    Args:
        path: The JSON that ``tools/test.py --out`` writes.
        truth: The images.

    Returns:
        A score for each image and class, between 0 and 1, float (N, classes).

    Raises:
        UserError: If it can't be read, has other classes, lacks an image, or holds what is no score.
    """
    if Path(path).is_file() and Path(path).stat().st_size > _LARGEST:
        raise UserError(f'{path} has more than {_LARGEST >> 30} GiB, which no file of scores has')
    content = read_annotations(path)
    if not (isinstance(content, dict) and isinstance(content.get('images'), list)):
        raise UserError(f'{path} is no file of scores; tools/test.py --out NAME.json writes one')
    if content.get('classes') != truth.classes:
        raise UserError(f'{path} is of other classes than the truth, or in another order; test with the same data')
    found = {}
    for entry in content['images']:
        file, scores = (entry.get('file'), entry.get('scores')) if isinstance(entry, dict) else (None, None)
        if not (isinstance(file, str) and _are_scores(scores, len(truth.classes))):
            raise UserError(
                f'{path}: expected {len(truth.classes)} scores between 0 and 1 with a sum of 1 for each image, but got '
                f'{str(scores)[:60]} for {str(file)[:60]}'
            )
        found[file] = scores
    if missing := [file for file in truth.files if file not in found]:
        raise UserError(f'{path} lacks {len(missing)} of {len(truth.files)} images, such as {missing[0]}')
    return np.array([found[file] for file in truth.files], float)


def _classes(path: Path) -> list[str]:
    classes = read_summary(path.parent).get('classes')
    if not (isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes)):
        raise UserError(
            f'{path.parent} has no summary.json with classes; give a list that tools/own_data.py has written'
        )
    return classes


def _lines(path: Path) -> list[str]:
    try:
        lines = [line for line in path.read_text(encoding='utf-8').split('\n') if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path} cannot be read as a list of images ({error})') from error
    if not lines:
        raise UserError(f'{path} names no image, so there is nothing to compare')
    return lines


def _read_map(path: Path) -> np.ndarray:
    with open_image(path) as image:
        if image.mode not in ('L', 'P'):
            raise UserError(f'{path} has the mode {image.mode}; expected a gray PNG of the numbers of the classes')
        return np.asarray(image)


def _are_scores(scores: object, number: int) -> bool:
    if not (isinstance(scores, list) and len(scores) == number):
        return False
    if not all(isinstance(score, (int, float)) and 0 <= score <= 1 for score in scores):
        return False
    return abs(sum(scores) - 1) < _OFF
