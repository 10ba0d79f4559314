"""The images with the most errors, the truth beside what was found."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from mmfasternet.datasets.images import read_image
from mmfasternet.errors import UserError
from mmfasternet.reports.outlines import COLOURS, Outline, OutlinedImage, box_corners, outline_image, shorten

from .detections import Detections
from .error_kinds import KINDS
from .result import Result
from .truth import Truth

__all__ = ['check_images', 'describe_errors', 'show_errors', 'worst_images']

_MOST_OUTLINES = 100
_MOST_PIXELS = 10**8  # of a mask that is drawn; of a larger one, its box is
_NAMED = 3  # objects of a kind in a caption
# With more outlines in an image, labels of what is right would cover the objects, and so would more of what is wrong.
_FEW, _LABELS = 12, 24
# How a label begins, by the kind of the detection.
_WORDS = dict(zip(KINDS, ('', 'wrong: ', 'off: ', 'off: ', 'twice: ', 'nothing: '), strict=True))


def check_images(truth: Truth, folder: str | Path) -> list[str]:
    """Look for the images in a folder.

    Args:
        truth: It names them.
        folder: Where they should be.

    Returns:
        The names of those that are not there.

    Raises:
        UserError: If none is there.
    """
    missing = [name for name in truth.files if not Path(folder, name).is_file()]
    if len(missing) == len(truth.files):
        raise UserError(
            f'{folder} has none of the {len(missing)} images of the truth, such as {missing[0]}; give the folder that '
            'the file names start in'
        )
    return missing


def worst_images(result: Result, most: int = 20) -> list[int]:
    """The images with the most errors: wrong detections, and objects that none of these lies on.

    Args:
        result: The figures.
        most: Length of the list at most. Defaults to 20.

    Returns:
        Their numbers, that with the most errors first; of as many, the one whose wrong detections have higher scores.
    """
    matches, count = result.matches, len(result.truth.files)
    wrong = result.shown & (result.kinds > 0)
    errors = np.bincount(matches.image[wrong], minlength=count)
    errors += np.bincount(matches.object_image[result.missed], minlength=count)
    sureness = np.bincount(matches.image[wrong], matches.score[wrong], minlength=count)
    order = np.lexsort((-sureness, -errors))[:most]
    return order[errors[order] > 0].tolist()


def describe_errors(result: Result, image: int) -> str:
    """What is wrong in an image.

    Args:
        result: The figures.
        image: Its number.

    Returns:
        Such as '2 missed: cat, dog; 1 classification: cat for dog; 1 background: cat'.
    """
    matches, classes = result.matches, [shorten(name, 24) for name in result.truth.classes]
    missed = matches.object_label[result.missed & (matches.object_image == image)]
    names = {'missed': [classes[label] for label in missed]}
    true_class = dict(zip(matches.object_number.tolist(), matches.object_label.tolist(), strict=True))
    for number, kind in enumerate(KINDS):
        wrong = np.flatnonzero(result.shown & (matches.image == image) & (result.kinds == number))
        names[kind] = [classes[label] for label in matches.label[wrong]]
        if kind == 'classification':
            true = [classes[true_class[target]] for target in matches.other[wrong].tolist()]
            names[kind] = [f'{name} for {other}' for name, other in zip(names[kind], true, strict=True)]
    del names['right']
    return '; '.join(f'{len(found)} {kind}: {_listed(found)}' for kind, found in names.items() if found)


def _listed(names: Sequence[str]) -> str:
    counts = Counter(names).most_common()
    named = [name + f' × {count}' * (count > 1) for name, count in counts[:_NAMED]]
    return ', '.join(named) + ', …' * (len(counts) > _NAMED)


def show_errors(result: Result, image: int, folder: str | Path) -> tuple[OutlinedImage, OutlinedImage] | None:
    """Draw the truth of an image, and what was found in it.

    What is wrong is dashed: objects that are missed, and detections that are wrong.

    Args:
        result: The figures.
        image: Its number.
        folder: Where its file is.

    Returns:
        Both; None if the file can't be read.
    """
    path = Path(folder, result.truth.files[image])
    try:
        pixels = read_image(path) if path.is_file() else None
    except UserError:
        pixels = None
    if pixels is None:
        return None
    # The truth may have been made from images of another size.
    scale = np.array(pixels.shape[1::-1]) / result.truth.sizes[image]
    sides = [_true_outlines(result, image), _found_outlines(result, image)]
    captions = [f'{result.truth.files[image]}: truth', describe_errors(result, image)]
    return tuple(
        outline_image(pixels, [_scaled(outline, scale) for outline in _labelled(side)], caption)
        for side, caption in zip(sides, captions, strict=True)
    )


def _labelled(outlines: list[Outline]) -> list[Outline]:
    return [
        outline if len(outlines) <= _FEW or (outline.dashed and place < _LABELS) else replace(outline, label='')
        for place, outline in enumerate(outlines[:_MOST_OUTLINES])
    ]


def _scaled(outline: Outline, scale: np.ndarray) -> Outline:
    return replace(outline, polygons=[(np.reshape(one, (-1, 2)) * scale).ravel().tolist() for one in outline.polygons])


def _true_outlines(result: Result, image: int) -> list[Outline]:
    matches, here = result.matches, np.flatnonzero(result.matches.object_image == image)
    missed = set(matches.object_number[result.missed].tolist())
    outlines = []
    for number, label in zip(matches.object_number[here].tolist(), matches.object_label[here].tolist(), strict=True):
        name = result.truth.classes[label]
        is_missed = number in missed
        text = f'missed: {shorten(name, 14)}' if is_missed else name
        if len(result.truth.classes) == 1:
            text = 'missed' * is_missed
        outlines.append(Outline(_polygons(result.truth, number), text, COLOURS[label % len(COLOURS)], is_missed))
    return sorted(outlines, key=lambda outline: not outline.dashed)


def _found_outlines(result: Result, image: int) -> list[Outline]:
    """The wrong ones first, since their labels matter most."""
    here = np.flatnonzero(result.shown & (result.matches.image == image))
    here = here[np.argsort(result.kinds[here] == 0, kind='stable')]
    outlines = []
    for number in here.tolist():
        label, kind = int(result.matches.label[number]), [*KINDS][result.kinds[number]]
        name = f'{shorten(result.truth.classes[label], 10)} ' * (len(result.truth.classes) > 1)
        text = f'{_WORDS[kind]}{name}{result.matches.score[number]:.2f}'
        polygons = _polygons(result.detections, number)
        outlines.append(Outline(polygons, text, COLOURS[label % len(COLOURS)], kind != 'right'))
    return outlines


def _polygons(these: Truth | Detections, number: int) -> list[list[float]]:
    """The outline of a mask, or of a box where there is none."""
    if these.masks is not None and np.prod(these.masks[number]['size'], dtype=float) <= _MOST_PIXELS:
        mask = coco_mask.decode(these.masks[number])
        lines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        if lines:
            return [line.ravel().tolist() for line in lines]
    return [box_corners(*these.boxes[number].tolist())]
