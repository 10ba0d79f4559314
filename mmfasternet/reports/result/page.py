"""A result as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmfasternet.reports.page import Bars, Bullets, Figure, Gallery, Matrix, Page, Section, Table

from .error_kinds import KINDS
from .parts import MOST_CLASSES, list_confusions, new_plot, png, points, score_parts
from .precision_recall import Curve
from .result import Result
from .worst_images import describe_errors, show_errors, worst_images

__all__ = ['result_page']

_LINES = 8  # as many classes as a plot stays legible with
# Okabe and Ito's colours, for all kinds of colour vision.
_COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#8F7F00', '#000000')
_MISSED = 'no detection lies on it, not even with a wrong class or a wrong place'


def result_page(
    result: Result, advice: Sequence[str], images: str | Path, absent: Sequence[str], facts: Mapping[str, str]
) -> Page:
    """Make the page of a result.

    Args:
        result: The figures.
        advice: What to do next.
        images: Folder of the images.
        absent: Names of images that are not there.
        facts: More key figures.

    Returns:
        The page.
    """
    truth = result.truth
    figures = {'box AP': points(result.ap.ap), 'box AP50': points(result.ap.ap50)}
    if result.mask_ap:
        figures |= {'mask AP': points(result.mask_ap.ap), 'mask AP50': points(result.mask_ap.ap50)}
    figures |= {
        'images': len(truth.files),
        'objects': int(result.counts.sum()),
        'score threshold with the best F1': f'{result.threshold:.2f}',
    }
    sections = [
        Section('What to do next', [Bullets(advice)]),
        Section('AP', _ap_parts(result)),
        Section('Errors by kind', _kind_parts(result)),
        Section('Confusion', _confusion_parts(result)),
        Section('Precision and recall', _curve_parts(result)),
        Section('Scores', score_parts(result.bins, 'detections')),
        Section('Images with the most errors', _image_parts(result, images, absent)),
    ]
    summary = (
        f'{len(result.detections):,} detections against {figures["objects"]:,} objects of {len(truth.classes)} '
        f'class{"es" * (len(truth.classes) > 1)} in {len(truth.files):,} images. AP goes from 0 to 100.'
    )
    return Page("A detector's result", summary, {**figures, **facts}, sections)


def _ap_parts(result: Result) -> list:
    masks = result.mask_ap
    pairs = list(set(zip(result.matches.object_label.tolist(), result.matches.object_image.tolist(), strict=True)))
    images = np.bincount([label for label, _ in pairs], minlength=len(result.counts)).tolist()
    head = ['class', 'objects', 'images', 'box AP', 'box AP50'] + ['mask AP', 'mask AP50'] * bool(masks)
    rows = []
    for label in np.argsort(np.nan_to_num(result.ap.by_class, nan=2), kind='stable').tolist():
        aps = [of[label] for ap in (result.ap, masks) if ap for of in (ap.by_class, ap.by_class50)]
        rows.append(
            [result.truth.classes[label], int(result.counts[label]), images[label], *map(points, map(float, aps))]
        )
    sizes = [
        [f'{size} ({area})', result.ap.sizes[size], points(result.ap.by_size[size])]
        + ([points(masks.by_size[size])] if masks else [])
        for size, area in {'small': 'below 32²', 'medium': '32² to 96²', 'large': 'above 96²'}.items()
    ]
    without = 'There is no mask AP, since not every object of the truth has a mask.'
    return [
        *([without] if result.detections.masks and not masks else []),
        Table(head, rows, 'By class, the lowest AP first'),
        Table(['area in pixels', 'objects', 'box AP'] + ['mask AP'] * bool(masks), sizes, 'By size of the objects'),
    ]


def _kind_parts(result: Result) -> list:
    meanings = {**KINDS, 'missed': _MISSED}
    rows = []
    for kind, cost in sorted(result.costs.items(), key=lambda item: -item[1]):
        number = [*meanings].index(kind)
        count = result.missed.sum() if kind == 'missed' else (result.kinds[result.shown] == number).sum()
        of_masks = [100 * result.mask_costs[kind]] if result.mask_costs else []
        rows.append([kind, meanings[kind], int(count), 100 * cost, *of_masks])
    right = int((result.kinds[result.shown] == 0).sum())
    costs = ['AP50 it costs'] if not result.mask_costs else ['box AP50 it costs', 'mask AP50 it costs']
    return [
        f'The kinds are those of TIDE (Bolya et al., ECCV 2020). At a score threshold of {result.threshold:.2f}, '
        f'{right:,} detections are right, and as many are wrong as the table counts. What a kind costs is the AP50 '
        'that fixing it alone would give back, at all scores; the costs do not add up.',
        Bars(['AP50'], [(row[0], [row[3]]) for row in rows], 'AP50 that each kind costs, in points'),
        Table(['kind', 'what it is', 'number', *costs], rows),
    ]


def _confusion_parts(result: Result) -> list:
    classes, matrix = result.truth.classes, result.confusion
    intro = f'At a score threshold of {result.threshold:.2f} and an IoU of 0.5.'
    used = np.flatnonzero((matrix.sum(0) + matrix.sum(1))[:-1])
    if len(used) <= MOST_CLASSES:
        names, places = [classes[label] for label in used], [*used, len(classes)]
        counts = matrix[np.ix_(places, places)].tolist()
        caption = 'Truth in rows, prediction in columns'
        return [
            f'{intro} Each object counts once in its row; the last row has detections on no object left.',
            Matrix([*names, 'no object'], [*names, 'not found'], counts, caption),
        ]
    table = list_confusions(classes, matrix[:-1, :-1], 'times')
    return [intro, table] if table else [f'{intro} No object was taken for one of another class.']


def _curve_parts(result: Result) -> list:
    named = [
        (name, curve) for name, curve in zip(result.truth.classes, result.curves, strict=True) if curve is not None
    ]
    several = len(named) > 1
    drawn = [curve for _, curve in named] if several and len(named) <= _LINES else []
    caption = 'At an IoU of 0.5. The dots are the thresholds with the best F1.'
    if drawn:
        caption += ' Numbers are those of the classes in the table; the dashed line is all classes together.'
    head = ['no.', 'class', 'threshold', 'precision', 'recall', 'F1']
    rows = [[None, 'all classes', *_best(result.curve)]] if several else []
    rows += [[number, name, *_best(curve)] for number, (name, curve) in enumerate(named, 1)]
    return [
        Figure(_draw_curves(result.curve, drawn), 'Precision against recall', caption),
        Table(head, rows, 'The score threshold with the best F1'),
    ]


def _best(curve: Curve) -> list[str | None]:
    values = (curve.thresholds, curve.precision, curve.recall, curve.f1)
    return [None if curve.best is None else f'{of[curve.best]:.2f}' for of in values]


def _draw_curves(every: Curve, curves: Sequence[Curve]) -> bytes:
    plot, panel = new_plot('recall', 'precision')
    for number, (curve, colour) in enumerate(zip(curves, _COLOURS, strict=False), 1):
        panel.plot(curve.recall, curve.precision, color=colour, linewidth=1.4)
        if curve.best is not None:
            point = curve.recall[curve.best], curve.precision[curve.best]
            panel.plot(*point, 'o', color=colour, markersize=5)
            panel.annotate(str(number), point, (5, 4), textcoords='offset points', color=colour, weight='bold')
    panel.plot(every.recall, every.precision, '--' if curves else '-', color='#222222', linewidth=1.8)
    if every.best is not None:
        panel.plot(every.recall[every.best], every.precision[every.best], 'o', color='#222222', markersize=6)
    return png(plot)


def _image_parts(result: Result, folder: str | Path, absent: Sequence[str]) -> list:
    worst = worst_images(result)
    if not worst:
        return ['No image has an error.']
    shown, unread = [], []
    for image in worst:
        pair = show_errors(result, image, folder)
        if pair:
            shown += pair
        else:
            unread.append(f'{result.truth.files[image]}: {describe_errors(result, image)}')
    parts = [
        f'The truth beside the detections with a score of {result.threshold:.2f} or more. Dashed are missed objects '
        'and wrong detections: of another class (wrong), in the wrong place (off), of an object that is found already '
        '(twice), and where there is no object (nothing). In an image of many objects, only these have labels.',
        Gallery(shown, pairs=True),
    ]
    if absent:
        parts.insert(
            0, f'{len(absent)} of the {len(result.truth.files)} images are not in the folder, such as {absent[0]}.'
        )
    if unread:
        parts += ['These images could not be read:', Bullets(unread)]
    return parts
