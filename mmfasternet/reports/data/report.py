"""The report of a user's data: what it holds, what it looks like, and what follows for the training."""

from functools import partial
from pathlib import Path

import numpy as np

from mmfasternet.datasets.formats import Source
from mmfasternet.datasets.formats.splitting import SPLITS
from mmfasternet.datasets.recipe import DETECTORS, Recipe
from mmfasternet.errors import printable
from mmfasternet.reports.page import Bullets, Page, Section, write_page

from .advice import advise
from .copies import show_copies
from .counts import count_classes, count_images, count_sizes, describe_sizes
from .measures import Measures, measure
from .objects import show_image
from .views import show_classes
from .words import count_of, list_notes, side_by_side

__all__ = ['write_data_report']


def write_data_report(path: str | Path, source: Source, recipe: Recipe, note: str = '') -> list[str]:
    """Write the report of a detection data set.

    What is counted comes from ``source``; only the images that are shown are opened.

    Args:
        path: The HTML file.
        source: The data, each image with its split; see :func:`~mmfasternet.datasets.formats.convert_source`.
        recipe: What a config for it sets.
        note: What is to be said of the config. Defaults to nothing.

    Returns:
        What the report has found, as lines for people.

    Raises:
        UserError: If it can't be written.

    Example:
        >>> from mmfasternet.datasets import make_shapes
        >>> from mmfasternet.datasets.formats import convert_source
        >>> from mmfasternet.datasets.recipe import plan_training
        >>> root = make_shapes('shapes', num_train=4, num_val=2, size=(96, 128))
        >>> source = convert_source(root, 'out').source
        >>> recipe = plan_training('out/annotations')
        >>> lines = write_data_report('out/report.html', source, recipe)
        >>> Path('out/report.html').exists()
        True
    """
    measured = measure(source, recipe.image_size)
    advice = advise(source, measured, recipe)
    page = Page(
        title=f'Data: {source.root.name}',
        summary=_summary(source, measured, recipe),
        figures=_figures(source, measured),
        sections=[
            Section('Before you train', [Bullets(advice) if advice else 'Nothing stands out.']),
            Section('Classes', count_classes(source, measured)),
            Section('Sizes of the objects', count_sizes(measured, recipe)),
            Section('Examples', show_classes(source, measured)),
            Section('Images', count_images(measured, recipe)),
            Section('Copies', show_copies(source.images, partial(show_image, source))),
            Section('Repaired and left out', [Bullets(list_notes(source.notes))]),
            Section('The config', [*([note] if note else []), Bullets(_settings(measured, recipe))]),
        ],
    )
    write_page(path, page)
    lines = [describe_sizes(measured, recipe), *(f'noticed: {text}' for text in advice)]
    return [printable(line) for line in lines]


def _summary(source: Source, measured: Measures, recipe: Recipe) -> str:
    masks = (
        'boxes and masks' if measured.masked.all() else 'boxes, some with masks' if measured.masked.any() else 'boxes'
    )
    return (
        f'{count_of(len(source.images), "image")} with {count_of(len(measured.kinds), "object")} of '
        f'{count_of(len(source.classes), "class", "classes")}: {masks}, for a {DETECTORS[recipe.detector][0]} at '
        f'{side_by_side(recipe.image_size)} pixels.'
    )


def _figures(source: Source, measured: Measures) -> dict[str, str | int]:
    images = {f'images in {split}': int((measured.splits == place).sum()) for place, split in enumerate(SPLITS)}
    return {
        **{label: count for label, count in images.items() if count},
        'objects': len(measured.kinds),
        'classes': len(source.classes),
        'objects with a mask': f'{measured.masked.mean():.0%}',
        'median size after resizing': f'{np.median(measured.sizes):.0f} px',
        'images without objects': int((measured.per_image == 0).sum()),
    }


def _settings(measured: Measures, recipe: Recipe) -> list[str]:
    """What the config sets, and why."""
    train = measured.sides == 0
    label, with_masks = DETECTORS[recipe.detector]
    without = int((~measured.masked[train]).sum())
    why = f'{without:,} of {train.sum():,} objects to train on have no mask' if without else 'as you chose'
    return [
        f'{label}: {"every object to train on has a mask" if with_masks else why}.',
        *(_light_settings if recipe.start == 'scratch' else _released_settings)(measured, recipe),
        f'{count_of(recipe.max_epochs, "epoch")} of {count_of(recipe.epoch_length, "iteration")}: '
        f'{count_of(recipe.num_images, "image")} to train on have objects.',
    ]


def _light_settings(measured: Measures, recipe: Recipe) -> list[str]:
    train = measured.sides == 0
    low, high = np.percentile(measured.boxes[train, 3] / np.maximum(measured.boxes[train, 2], 1e-6), [10, 90])
    ratios = 'a single ratio' if len(recipe.ratios) == 1 else f'{len(recipe.ratios)} ratios'
    return [
        f'Images of up to {side_by_side(recipe.image_size)} pixels, so that three quarters of the objects of each '
        'class have 16 pixels or more, as far as the limits of 256 and 512 pixels and the images allow.',
        f'Anchors for objects of {recipe.sizes[0]:.0f} to {recipe.sizes[1]:.0f} pixels, as nine in ten of those to '
        f'train on have after resizing, in {ratios}: eight in ten are {low:.1f} to {high:.1f} times as high as wide.',
    ]


def _released_settings(measured: Measures, recipe: Recipe) -> list[str]:
    return [
        f'Images of up to {side_by_side(recipe.image_size)} pixels, on which the authors’ weights were trained; half '
        f'of them are resized to {np.median(measured.scales):.0%} or more.',
        'Anchors as the authors’ weights have them.',
    ]
