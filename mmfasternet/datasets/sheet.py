"""Sheet: predictions beside the truth, many pictures in one."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from mmfasternet.files import write_whole

__all__ = ['draw_semantic_sheet', 'draw_sheet']

TILE = 384  # width of a picture on the sheet, in pixels
GAP = 6
TITLE = 28  # height of the line over a pair
PAIRS = 2  # in a row

# What is drawn of an object or a class: its mask, the number of its class from 0, and a text.
Region = tuple[np.ndarray, int, str]


def draw_sheet(
    results: list[dict],
    annotation_file: str | Path,
    pictures: str | Path,
    sheet: str | Path,
    count: int = 10,
    score: float = 0.5,
) -> Path:
    """Draws pictures in pairs, the true instances to the left and the predicted ones to the right.

    Args:
        results: What mmdet's ``test.py --out`` wrote, loaded: of each picture ``img_id`` and ``pred_instances`` with
            ``labels``, ``scores`` and ``masks`` (run lengths).
        annotation_file: COCO-format truth.
        pictures: Folder of the pictures it names, all of one size.
        sheet: PNG to write.
        count: Number of pictures, the first ones of the results.
        score: Predictions below it are left out.

    Returns:
        ``sheet``.

    Raises:
        OSError: A picture can't be read.
        UserError: The sheet can't be written.

    Example:
        >>> results = mmengine.load('predictions.pkl')  # doctest: +SKIP
        >>> draw_sheet(results, 'annotations/instances_val.json', 'val', 'sheet.png')  # doctest: +SKIP
    """
    coco = json.loads(Path(annotation_file).read_text())
    names = [category['name'] for category in coco['categories']]
    labels = {category['id']: label for label, category in enumerate(coco['categories'])}
    files = {image['id']: Path(pictures, image['file_name']) for image in coco['images']}

    pairs = []
    for result in results[:count]:
        picture = _read(files[result['img_id']])
        truth = [
            (coco_mask.decode(annotation['segmentation']), label, names[label])
            for annotation in coco['annotations']
            if annotation['image_id'] == result['img_id']
            for label in [labels[annotation['category_id']]]
        ]
        found = result['pred_instances']
        predicted = [
            (coco_mask.decode(rle), int(label), f'{names[int(label)]} {certainty:.2f}')
            for label, certainty, rle in zip(found['labels'], found['scores'].tolist(), found['masks'], strict=True)
            if certainty >= score
        ]
        pairs.append((picture, truth, predicted))
    return _write_sheet(pairs, names, sheet)


def draw_semantic_sheet(
    predictions: str | Path,
    truth: str | Path,
    pictures: str | Path,
    sheet: str | Path,
    classes: Sequence[str],
    count: int = 10,
) -> Path:
    """Draws pictures in pairs, the true classes to the left and the predicted ones to the right, under a legend.

    The pictures are made grey, so that what is coloured is a class.

    Args:
        predictions: Folder of maps that mmseg's ``test.py --out`` wrote: PNGs, 0 where no class is and k where
            ``classes[k - 1]`` is.
        truth: Folder of the true maps, of the same names.
        pictures: Folder of the pictures, of the same names, all of one size.
        sheet: PNG to write.
        classes: Names of the classes, the background left out.
        count: Number of pictures, the first ones of the predictions by name.

    Returns:
        ``sheet``.

    Raises:
        OSError: A picture or a map can't be read.
        UserError: The sheet can't be written.

    Example:
        >>> draw_semantic_sheet('maps', 'semantic/val', 'val', 'sheet.png', ('circle', 'star'))  # doctest: +SKIP
    """
    pairs = []
    for path in sorted(Path(predictions).glob('*.png'))[:count]:
        maps = [_read(Path(folder, path.name), cv2.IMREAD_UNCHANGED) for folder in (truth, predictions)]
        regions = [
            [((classes_of == label + 1).astype(np.uint8), label, '') for label in range(len(classes))]
            for classes_of in maps
        ]
        grey = _read(Path(pictures, path.name), cv2.IMREAD_GRAYSCALE)
        pairs.append((cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), *regions))
    return _write_sheet(pairs, classes, sheet, legend=True)


def _read(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    picture = cv2.imread(str(path), flags)
    if picture is None:
        raise OSError(f'{path} is no picture that can be read')
    return picture


def _write_sheet(
    pairs: list[tuple[np.ndarray, list[Region], list[Region]]],
    names: Sequence[str],
    sheet: str | Path,
    legend: bool = False,
) -> Path:
    """Writes pictures, each with its true and its predicted regions, in rows of pairs."""
    colours = [_colour(label, len(names)) for label in range(len(names))]
    drawn = [
        np.hstack([_tile(picture, truth, colours, 'truth'), _tile(picture, predicted, colours, 'predicted')])
        for picture, truth, predicted in pairs
    ]
    drawn += [np.full_like(drawn[0], 255)] * (-len(drawn) % PAIRS)
    rows = [np.hstack(drawn[start : start + PAIRS]) for start in range(0, len(drawn), PAIRS)]
    if legend:
        rows.insert(0, _legend(names, colours, rows[0].shape[1]))
    done, data = cv2.imencode('.png', np.vstack(rows))
    return write_whole(sheet, data.tobytes())


def _legend(names: Sequence[str], colours: list[tuple[int, int, int]], width: int) -> np.ndarray:
    """A line of the classes, each behind a square of its colour, on white."""
    line = np.full((TITLE, width, 3), 255, np.uint8)
    x = GAP
    for name, colour in zip(names, colours, strict=True):
        cv2.rectangle(line, (x, 8), (x + 14, 22), colour, -1)
        cv2.rectangle(line, (x, 8), (x + 14, 22), (0, 0, 0), 1)
        cv2.putText(line, name, (x + 20, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        x += 44 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
    return line


def _tile(picture: np.ndarray, regions: list[Region], colours: list[tuple[int, int, int]], title: str) -> np.ndarray:
    """Picture with outlines and texts under a title, on white."""
    height = round(TILE * picture.shape[0] / picture.shape[1])
    tile = cv2.resize(picture, (TILE, height), interpolation=cv2.INTER_CUBIC)
    texts = []
    for mask, label, text in regions:
        colour = colours[label]
        mask = cv2.resize(mask * 255, (TILE, height), interpolation=cv2.INTER_LINEAR) > 127
        tile[mask] = 0.65 * tile[mask] + 0.35 * np.array(colour)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.drawContours(tile, outlines, -1, colour, 1, cv2.LINE_AA)
        y, x = np.argwhere(mask).min(0) if mask.any() else (0, 0)
        if text:
            texts.append((text, int(x), int(y), colour))
    for text, x, y, colour in texts:  # above all outlines
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
        x, y = min(x, TILE - wide - 4), max(y, high + 6)
        cv2.rectangle(tile, (x, y - high - 6), (x + wide + 4, y), (0, 0, 0), -1)
        cv2.putText(tile, text, (x + 2, y - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
    tile = cv2.copyMakeBorder(tile, TITLE, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.putText(tile, title, (GAP, TITLE - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


def _colour(index: int, number: int) -> tuple[int, int, int]:
    """Bright and as far from the other classes' as can be."""
    hue = np.uint8([[[180 * index // number, 160, 255]]])
    return tuple(cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0].tolist())
