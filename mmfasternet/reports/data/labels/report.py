"""The report of semantic maps or of folders of classes: what they hold, what they look like, and what follows."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmfasternet.datasets.formats import Source
from mmfasternet.datasets.formats.splitting import SPLITS
from mmfasternet.errors import printable
from mmfasternet.reports.data.copies import show_copies
from mmfasternet.reports.data.shapes import count_shapes
from mmfasternet.reports.data.words import count_of, list_notes, side_by_side
from mmfasternet.reports.page import Bullets, Page, Section, write_page

from .advice import advise_classes, advise_maps
from .counts import count_classes, percent
from .measures import LabelMeasures, measure_labels, resizing_ious
from .samples import show_image, show_images_of_classes, show_map, show_maps_of_classes

__all__ = ['write_classes_report', 'write_maps_report']

_HEAVY = 1.1  # weight of a class, from which it is named


def write_maps_report(path: str | Path, source: Source, maps: str | Path, config: Mapping, note: str = '') -> list[str]:
    """Write the report of a data set of semantic maps.

    Args:
        path: The HTML file.
        source: The data, each image with its split and the pixels of its classes; see
            :func:`~mmfasternet.datasets.formats.convert_maps`.
        maps: Folder of the maps that it has written.
        config: The config that trains on them; what the report says of the training is read from it.
        note: What is to be said of the config. Defaults to nothing.

    Returns:
        What the report has found, as lines for people.

    Raises:
        UserError: If a map can't be read, or the report can't be written.

    Example:
        >>> from mmfasternet.datasets import make_shapes
        >>> from mmfasternet.datasets.formats import convert_maps
        >>> root = make_shapes('shapes', num_train=4, num_val=2, size=(96, 128))
        >>> source = convert_maps(root, 'out').source
        >>> lines = write_maps_report('out/report.html', source, 'out/semantic', dict(image_size=(128, 96)))
        >>> lines[-1]
        'noticed: Images to train on: 4. With so few, results vary from training to training.'
    """
    measured = measure_labels(source)
    image_size = tuple(config.get('image_size') or np.sort(measured.shapes.max(0)).astype(int)[::-1].tolist())
    ious, weights = resizing_ious(source, measured, maps, image_size), _weights(config)
    figures = {
        'classes': len(source.classes),
        'pixels ignored': f'{percent(measured.pixels[:, -1].sum() / measured.pixels.sum())}%',
        'lowest IoU after resizing': f'{np.nanmin(ious):.0%}',
    }
    return _write(
        path,
        source,
        measured,
        f'semantic maps of {count_of(len(source.classes), "class", "classes")}',
        figures,
        advise_maps(source, measured, ious, image_size, weights),
        [
            Section('Classes', count_classes(source, measured, ious)),
            Section('Examples', show_maps_of_classes(source, measured, maps)),
            Section('Images', count_shapes(measured.shapes, image_size)),
            Section('Copies', show_copies(source.images, partial(show_map, source, maps))),
        ],
        note,
        _segmentor_settings(source.classes, config, image_size, weights),
    )


def write_classes_report(path: str | Path, source: Source, config: Mapping, note: str = '') -> list[str]:
    """Write the report of folders of classes.

    Args:
        path: The HTML file.
        source: The data, each image with its split; see :func:`~mmfasternet.datasets.formats.convert_classes`.
        config: The config that trains on it; what the report says of the training is read from it.
        note: What is to be said of the config. Defaults to nothing.

    Returns:
        What the report has found, as lines for people.

    Raises:
        UserError: If it can't be written.

    Example:
        >>> from mmfasternet.datasets import make_crops, make_shapes
        >>> from mmfasternet.datasets.formats import convert_classes
        >>> crops = make_crops(make_shapes('shapes', num_train=9, num_val=9), 'crops')
        >>> lines = write_classes_report('out/report.html', convert_classes(crops, 'out').source, dict(side=64))
        >>> lines[0][:55]
        'noticed: Classes with fewer than 20 images to train on:'
    """
    measured = measure_labels(source)
    side = int(config.get('side') or np.median(measured.shapes))
    counts = measured.counts[:, 0]
    figures = {
        'classes': len(source.classes),
        'fewest images of a class to train on': int(counts.min()),
        'most': int(counts.max()),
        'median shorter side': f'{np.median(measured.shapes.min(1)):.0f} px',
    }
    return _write(
        path,
        source,
        measured,
        f'one of {count_of(len(source.classes), "class", "classes")} each',
        figures,
        advise_classes(source, measured, side),
        [
            Section('Classes', count_classes(source, measured)),
            Section('Examples', show_images_of_classes(source, measured)),
            Section('Images', count_shapes(measured.shapes, (side, side))),
            Section('Copies', show_copies(source.images, partial(show_image, source))),
        ],
        note,
        _classifier_settings(config, side),
    )


def _write(
    path: str | Path,
    source: Source,
    measured: LabelMeasures,
    labels: str,
    figures: dict[str, str | int],
    advice: Sequence[str],
    sections: Sequence[Section],
    note: str,
    settings: Sequence[str],
) -> list[str]:
    images = {f'images in {SPLITS[split]}': int((measured.splits == split).sum()) for split in measured.used}
    page = Page(
        title=f'Data: {source.root.name}',
        summary=f'{count_of(len(source.images), "image")} with {labels}.',
        figures=images | figures,
        sections=[
            Section('Before you train', [Bullets(advice) if advice else 'Nothing stands out.']),
            *sections,
            Section('Repaired and left out', [Bullets(list_notes(source.notes))]),
            Section('The config', [*([note] if note else []), Bullets(settings)]),
        ],
    )
    write_page(path, page)
    return [printable(f'noticed: {text}') for text in advice]


def _weights(config: Mapping) -> list[float] | None:
    """The weights of the classes in the first loss that has some."""
    losses = config.get('model', {}).get('decode_head', {}).get('loss_decode', [])
    losses = losses if isinstance(losses, list) else [losses]
    return next((list(loss['class_weight']) for loss in losses if loss.get('class_weight')), None)


def _segmentor_settings(
    classes: list[str], config: Mapping, image_size: tuple[int, int], weights: list[float] | None
) -> list[str]:
    lines = [f'Images of up to {side_by_side(image_size)} pixels.']
    if crop := config.get('crop_size'):
        lines.append(f'Crops of {side_by_side(tuple(crop)[::-1])} pixels, the size that is trained on.')
    if heavy := [
        f'{name} {weight:g}' for name, weight in zip(classes, weights or [], strict=False) if weight >= _HEAVY
    ]:
        lines.append(f'Classes whose pixels weigh more in the loss: {", ".join(heavy)}.')
    return [*lines, *_length(config, 'max_iters', 'iteration')]


def _classifier_settings(config: Mapping, side: int) -> list[str]:
    return [
        f'Images of {side_by_side((side, side))} pixels.',
        *_length(config, 'max_epochs', 'epoch'),
    ]


def _length(config: Mapping, key: str, unit: str) -> list[str]:
    if not config.get(key):
        return []
    batch = config.get('train_dataloader', {}).get('batch_size')
    return [f'{count_of(config[key], unit)}' + (f' with batches of {count_of(batch, "image")}.' if batch else '.')]
