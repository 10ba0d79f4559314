"""What the objects of a data set mean for a training on it."""

import numpy as np

from mmfasternet.datasets.formats import Source
from mmfasternet.datasets.recipe import Recipe

from .copies import advise_copies
from .measures import Measures
from .words import listed

__all__ = ['TINY', 'advise']

#: Pixels in the resized image, below which an object is hard to find.
TINY = 8
# Objects of a class to train on, and to evaluate on, below which there are few.
_FEW_TRAIN, _FEW_VAL = 20, 10
_FEW_IMAGES = 50
# Pixels that the smaller objects should have in crops, and the smallest side of a crop.
_WANTED, _SMALLEST_CROP = 16, 128


def advise(source: Source, measured: Measures, recipe: Recipe) -> list[str]:
    """Say what a user should know before a training.

    Args:
        source: The data.
        measured: Its objects.
        recipe: What the config for it sets.

    Returns:
        One text for each matter, the most important first; none if nothing stands out.
    """
    return [
        *advise_copies(measured.scenes, measured.splits),
        *_classes(source.classes, measured),
        *_sizes(measured, recipe),
        *_images(measured, recipe),
        *_masks(measured),
        *_twins(measured),
    ]


def _classes(classes: list[str], measured: Measures) -> list[str]:
    counts = measured.count(len(classes))
    train, val = counts[:, 0], counts[:, 1]

    def named(chosen: np.ndarray, numbers: np.ndarray) -> str:
        order = sorted(np.flatnonzero(chosen), key=lambda kind: numbers[kind])
        return listed(f'{classes[kind]} ({numbers[kind]})' if numbers[kind] else classes[kind] for kind in order)

    lines = []
    if (train == 0).any():
        lines.append(f'Classes without an object to train on: {named(train == 0, train)}.')
    if (val == 0).any():
        lines.append(f'Classes without an object to evaluate on, which have no AP: {named(val == 0, val)}.')
    if (few := (train > 0) & (train < _FEW_TRAIN)).any():
        lines.append(f'Classes with fewer than {_FEW_TRAIN} objects to train on: {named(few, train)}.')
    if (few := (val > 0) & (val < _FEW_VAL)).any():
        lines.append(
            f'Classes with fewer than {_FEW_VAL} objects to evaluate on, whose AP says little: {named(few, val)}.'
        )
    return lines


def _sizes(measured: Measures, recipe: Recipe) -> list[str]:
    sizes, (longer, shorter) = measured.sizes, recipe.image_size
    tiny = sizes < TINY
    if tiny.mean() < 0.05:
        return []
    line = f'{tiny.mean():.0%} of the objects are smaller than {TINY} pixels after resizing to {longer} × {shorter}'
    if np.median(measured.scales) > 0.6:
        return [f'{line}; the images are hardly larger themselves.']
    small = float(np.percentile(sizes / measured.scales[measured.owners], 25))
    crop = max(_SMALLEST_CROP, round(longer * small / _WANTED / 32) * 32)
    return [
        f'{line}, and the images are larger: cut them into crops of about {crop} × {crop} pixels, with their '
        'annotations, or raise image_size in the config.'
    ]


def _images(measured: Measures, recipe: Recipe) -> list[str]:
    empty, train = measured.per_image == 0, measured.splits == 0
    used = int((train & ~empty).sum())
    lines = []
    if used < _FEW_IMAGES:
        lines.append(f'Images to train on: {used}. With so few, results vary from training to training.')
    if (count := int((train & empty).sum())) > 0:
        lines.append(f'Images to train on without an object: {count}. The config leaves them out.')
    most = recipe.max_per_img
    if crowded := int((measured.per_image > most).sum()):
        lines.append(
            f'Images with more than {most} objects: {crowded}. In an image, the detector of the config finds at most '
            f'{most}, unless max_per_img is raised.'
        )
    return lines


def _masks(measured: Measures) -> list[str]:
    missing = int((~measured.masked).sum())
    if missing in (0, len(measured.masked)):
        return []
    return [f'{missing:,} of {len(measured.masked):,} objects have a box and no mask: the boxes alone are learned.']


def _twins(measured: Measures) -> list[str]:
    rows = np.column_stack([measured.owners, measured.kinds, measured.boxes.round()])
    again = len(rows) - len({*map(tuple, rows.astype(int).tolist())})
    return [f'Objects that are annotated twice, with the same class and box: {again}.'] if again else []
