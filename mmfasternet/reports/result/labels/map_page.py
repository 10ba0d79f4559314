"""A segmentor's result as a page."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmfasternet.datasets.images import read_image
from mmfasternet.datasets.palette import has_background
from mmfasternet.errors import UserError
from mmfasternet.reports.outlines import OutlinedImage, shorten
from mmfasternet.reports.page import Bars, Bullets, Gallery, Matrix, Page, Section, Table
from mmfasternet.reports.regions import draw_map
from mmfasternet.reports.result.parts import MOST_CLASSES, list_confusions, points

from .map_result import MapResult, confuse
from .truth import ImageList, read_pair

__all__ = ['map_page']

_WORST = 12  # images
_NAMED = 3  # confusions in a caption
_KINDS = {
    'border': 'at a border between classes that is predicted nearby: within 1% of the longer side of the image',
    'missed': 'of a class, taken for background',
    'background': 'of the background, taken for a class',
    'confusion': 'of a class, taken for another one',
}


def map_page(
    result: MapResult, advice: Sequence[str], truth: ImageList, predictions: str | Path, images: str | Path
) -> Page:
    """Make the page of a result.

    Args:
        result: The figures.
        advice: What to do next.
        truth: The images and their maps.
        predictions: Folder of the predicted maps.
        images: Folder of the images.

    Returns:
        The page.
    """
    figures = {
        'mIoU': points(result.miou),
        'pixels that are right': f'{result.accuracy:.1%}',
        'mean accuracy of a class': points(float(np.nanmean(result.recall))),
        'images': len(truth.files),
        'classes': len(truth.classes),
    }
    sections = [
        Section('What to do next', [Bullets(advice)]),
        Section('Classes', _class_parts(result)),
        Section('Errors by place and kind', _kind_parts(result)),
        Section('Confusion', _confusion_parts(result)),
        Section('Images with the most errors', _image_parts(result, truth, predictions, images)),
    ]
    summary = f'{len(truth.files):,} images with semantic maps of {len(truth.classes)} classes. IoU goes from 0 to 100.'
    return Page("A segmentor's result", summary, figures, sections)


def _class_parts(result: MapResult) -> list:
    true, found = result.confusion.sum(1), result.confusion.sum(0)
    order = np.argsort(np.nan_to_num(result.iou, nan=2), kind='stable').tolist()
    rows = [
        [
            result.classes[label],
            *(points(of[label]) for of in (result.iou, result.recall, result.precision)),
            int(result.images[label]),
            int(true[label]),
            int(found[label]),
        ]
        for label in order
    ]
    head = ['class', 'IoU', 'accuracy', 'precision', 'images', 'pixels', 'pixels predicted']
    return [
        Bars(['IoU'], [(row[0], [row[1] or 0]) for row in rows[:MOST_CLASSES]], 'IoU, the lowest first'),
        Table(
            head,
            rows,
            'Accuracy is the share of the pixels of a class that are found, precision that of the predicted pixels '
            'that are right',
        ),
    ]


def _kind_parts(result: MapResult) -> list:
    every, rows = result.pixels.sum(), []
    for kind, wrong in result.kinds.items():
        rows.append([_KINDS[kind], int(wrong.sum()), 100 * float(wrong.sum() / every), 100 * result.cost(wrong)])
    rows.sort(key=lambda row: -row[3])
    return [
        'What a kind costs is the mIoU that fixing it alone would give back; the costs do not add up.',
        Table(['wrong pixels', 'number', '% of all', 'mIoU it costs'], rows),
    ]


def _confusion_parts(result: MapResult) -> list:
    used = np.flatnonzero(result.confusion.sum(0) + result.confusion.sum(1))
    if len(used) > MOST_CLASSES:
        return [list_confusions(result.classes, result.confusion, 'pixels') or 'No pixel is wrong.']
    names, counts = [result.classes[label] for label in used], result.confusion[np.ix_(used, used)]
    shares = (100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)).round().astype(int)
    caption = 'Truth in rows, prediction in columns: of the pixels of a class, the percentage that is taken for each'
    return [Matrix(names, names, shares.tolist(), caption)]


def _image_parts(result: MapResult, truth: ImageList, predictions: str | Path, images: str | Path) -> list:
    shares = result.wrong / np.maximum(result.pixels, 1)
    worst = [image for image in np.argsort(-shares, kind='stable').tolist()[:_WORST] if shares[image]]
    if not worst:
        return ['No image has an error.']
    shown, unread = [], []
    for image in worst:
        try:
            shown += _pair(result, truth, predictions, Path(images), truth.files[image])
        except UserError as error:
            unread.append(f'{truth.files[image]}, {shares[image]:.1%} wrong: {error}')
    without = ' The background is not drawn.' if has_background(result.classes) else ''
    parts = [
        'The truth beside the prediction; those with the largest share of wrong pixels come first. Dashed are regions '
        f'of which more than half is wrong.{without}'
    ]
    parts += [Gallery(shown, pairs=True)] if shown else []
    return [*parts, *(['These images could not be shown:', Bullets(unread)] if unread else [])]


def _pair(
    result: MapResult, truth: ImageList, predictions: str | Path, images: Path, file: str
) -> tuple[OutlinedImage, OutlinedImage]:
    true, found = read_pair(truth, predictions, file)
    pixels = read_image(images / file)
    if pixels.shape[:2] != true.shape:
        pixels = cv2.resize(pixels, true.shape[::-1], interpolation=cv2.INTER_AREA)
    wrong = (true != found) & (true < len(result.classes))
    return (
        draw_map(pixels, true, result.classes, f'{shorten(file, 60)}: truth', wrong=wrong, word='missed'),
        draw_map(pixels, found, result.classes, _describe(result, true, found), wrong=wrong),
    )


def _describe(result: MapResult, true: np.ndarray, found: np.ndarray) -> str:
    """What is wrong in an image."""
    counts = confuse(true, found, len(result.classes))
    every, names = counts.sum(), [shorten(name, 24) for name in result.classes]
    pairs = Counter({(row, column): int(counts[row, column]) for row, column in np.argwhere(counts) if row != column})
    named = [
        f'{names[row]} as {names[column]} {count / every:.1%}' for (row, column), count in pairs.most_common(_NAMED)
    ]
    return f'{sum(pairs.values()) / every:.1%} wrong: {", ".join(named)}' + ', …' * (len(pairs) > _NAMED)
