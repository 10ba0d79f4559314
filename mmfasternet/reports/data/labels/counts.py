"""What is counted of images with classes: how many have each class, and how much of them it takes."""

import numpy as np

from mmfasternet.datasets.formats import Source
from mmfasternet.datasets.formats.splitting import SPLITS
from mmfasternet.reports.data.words import first_of
from mmfasternet.reports.page import Bars, Table

from .measures import LabelMeasures

__all__ = ['count_classes', 'percent']

# Rows of a table of classes, and of bars.
_ROWS, _BARS = 200, 40


def percent(share: float) -> str | None:
    """A share in percent, with digits for small ones.

    Args:
        share: From 0 to 1, or NaN.

    Returns:
        A number as a text, or None for NaN.

    Example:
        >>> percent(0.25), percent(0.00042), percent(float('nan'))
        ('25.0', '0.042', None)
    """
    if np.isnan(share):
        return None
    return f'{100 * share:.1f}' if share >= 0.01 or not share else f'{100 * share:.3f}'


def count_classes(source: Source, measured: LabelMeasures, ious: np.ndarray | None = None) -> list[str | Bars | Table]:
    """Count the images of each class in each split and, where they have semantic maps, the pixels.

    Args:
        source: The data.
        measured: Its images.
        ious: What resizing alone leaves of each class in semantic maps. Defaults to None, there are none.

    Returns:
        Parts of a page, the most frequent class first.
    """
    counts, used = measured.counts, measured.used
    order = np.argsort(-counts.sum(1), kind='stable').tolist()
    names = [SPLITS[split] for split in used]
    head = ['class', *(f'in {name}' for name in names)]
    rows = [[source.classes[kind], *(int(counts[kind, split]) for split in used)] for kind in order[:_ROWS]]
    bars = [(row[0], row[1:]) for row in rows[:_BARS]]
    have = 'with' if ious is not None else 'of'
    parts = [Bars(names, bars, f'Images {have} each class{first_of(_BARS, len(order))}')]
    if ious is not None:
        shares, of_images = measured.shares, measured.shares_of_images
        every = measured.pixels[:, :-1].sum(0) / max(1, measured.pixels[:, :-1].sum())
        most = np.argsort(-every, kind='stable').tolist()[:_BARS]
        pixels = [(source.classes[kind], [100 * float(every[kind])]) for kind in most]
        parts.append(Bars(['pixels'], pixels, f'Share of the pixels in %{first_of(_BARS, len(order))}'))
        head += [f'% in {name}' for name in names] + ['% of an image', 'IoU resized']
        for row, kind in zip(rows, order, strict=False):
            row += [percent(shares[kind, split]) for split in used]
            own = of_images[measured.has[:, kind], kind]
            row += [percent(float(np.median(own)) if len(own) else float('nan')), percent(ious[kind])]
        parts.append(
            'The table has images with each class, its share of the pixels, the median share of an image that has it, '
            'and the IoU that is left if maps are made as small as the training sees them, and large again: with this '
            'size of images, no model is much better.'
        )
    return [*parts, Table(head, rows, f'The same in figures{first_of(_ROWS, len(order))}')]
