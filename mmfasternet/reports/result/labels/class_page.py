"""A classifier's result as a page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmfasternet.datasets.images import read_image
from mmfasternet.errors import UserError
from mmfasternet.reports.outlines import OutlinedImage, outline_image, shorten
from mmfasternet.reports.page import Bullets, Gallery, Matrix, Page, Section, Table
from mmfasternet.reports.result.calibration import calibration_error
from mmfasternet.reports.result.parts import MOST_CLASSES, list_confusions, points, score_parts

from .class_result import ClassResult, likely_range

__all__ = ['class_page']

_WORST = 24  # images
_THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


def class_page(result: ClassResult, advice: Sequence[str], images: str | Path) -> Page:
    """Make the page of a result.

    Args:
        result: The figures.
        advice: What to do next.
        images: Folder of the images.

    Returns:
        The page.
    """
    truth = result.truth
    figures = {'accuracy': f'{result.accuracy:.1%}'}
    if len(truth.classes) > 5:
        figures['right among the five highest scores'] = f'{result.top(5):.1%}'
    figures |= {
        'mean recall of a class': f'{np.nanmean(result.recall):.1%}',
        'images': len(truth.files),
        'mistakes': int((~result.right).sum()),
        'calibration error': f'{calibration_error(result.bins):.3f}',
    }
    sections = [
        Section('What to do next', [Bullets(advice)]),
        Section('Classes', _class_parts(result)),
        Section('Confusion', _confusion_parts(result)),
        Section('Scores', [*_threshold_parts(result), *score_parts(result.bins, 'images')]),
        Section('The most confident mistakes', _image_parts(result, Path(images))),
    ]
    return Page(
        "A classifier's result", f'{len(truth.files):,} images of {len(truth.classes)} classes.', figures, sections
    )


def _class_parts(result: ClassResult) -> list:
    counts, found = result.confusion.sum(1), result.confusion.sum(0)
    order = np.argsort(np.nan_to_num(result.f1, nan=2), kind='stable').tolist()
    rows = [
        [
            result.truth.classes[label],
            int(counts[label]),
            int(found[label]),
            *(points(of[label]) for of in (result.recall, result.precision, result.f1)),
        ]
        for label in order
    ]
    low, high = likely_range(result.accuracy, len(result.right))
    return [
        f'{int(result.right.sum()):,} of {len(result.right):,} images are right, {result.accuracy:.1%}. On other '
        f'images like these, it is probably {low:.0%} to {high:.0%} (Wilson’s interval of 95%).',
        Table(
            ['class', 'images', 'predicted', 'recall', 'precision', 'F1'],
            rows,
            'The lowest F1 first. Recall is the share of the images of a class that are found, precision that of the '
            'predictions that are right',
        ),
    ]


def _confusion_parts(result: ClassResult) -> list:
    used = np.flatnonzero(result.confusion.sum(0) + result.confusion.sum(1))
    if len(used) > MOST_CLASSES:
        return [list_confusions(result.truth.classes, result.confusion, 'images') or 'No image is wrong.']
    names = [result.truth.classes[label] for label in used]
    return [Matrix(names, names, result.confusion[np.ix_(used, used)].tolist(), 'Truth in rows, prediction in columns')]


def _threshold_parts(result: ClassResult) -> list:
    rows = []
    for threshold in _THRESHOLDS:
        above = result.score >= threshold
        right = 100 * float(result.right[above].mean()) if above.any() else None
        rows.append([f'{threshold:g}', int(above.sum()), 100 * float(above.mean()), right])
    caption = 'If images with lower scores are left to a person'
    return [Table(['score from', 'images', '% of all', '% right'], rows, caption)]


def _image_parts(result: ClassResult, folder: Path) -> list:
    worst = result.mistakes[:_WORST].tolist()
    if not worst:
        return ['No image is wrong.']
    shown, unread = [], []
    for image in worst:
        try:
            shown.append(_show(result, folder, image))
        except UserError as error:
            unread.append(f'{_describe(result, image)}: {error}')
    parts = ['What is predicted, its score, the truth and its score; the highest scores come first.']
    parts += [Gallery(shown, small=True)] if shown else []
    return [*parts, *(['These images could not be read:', Bullets(unread)] if unread else [])]


def _show(result: ClassResult, folder: Path, image: int) -> OutlinedImage:
    return outline_image(read_image(folder / result.truth.files[image]), [], _describe(result, image))


def _describe(result: ClassResult, image: int) -> str:
    classes, true, found = result.truth.classes, result.truth.labels[image], result.found[image]
    return (
        f'{shorten(classes[found], 30)} {result.score[image]:.2f}; truth: {shorten(classes[true], 30)} '
        f'{result.scores[image, true]:.2f}; {shorten(result.truth.files[image], 60)}'
    )
