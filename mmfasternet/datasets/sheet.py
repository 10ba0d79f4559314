"""A sheet of predictions beside the truth, many images in one file."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from mmfasternet.errors import UserError
from mmfasternet.files import write_file

__all__ = ['draw_semantic_sheet', 'draw_sheet']

_TILE = 256  # width of an image on the sheet, in pixels
_GAP = 6
_TITLE = 28  # height of the line over a pair
_PAIRS = 2  # in a row

# An object or a class as it is drawn: its mask, the number of its class from 0, and a text.
_Region = tuple[np.ndarray, int, str]


def draw_sheet(
    results: list[dict],
    annotation_file: str | Path,
    images: str | Path,
    sheet: str | Path,
    count: int = 10,
    score: float = 0.5,
) -> Path:
    """Draw images in pairs, with the true instances on the left and the predicted ones on the right.

    Args:
        results: What ``tools/test.py --out`` wrote, loaded: for each image ``img_id`` and ``pred_instances`` with
            ``labels``, ``scores`` and ``masks`` (run lengths).
        annotation_file: The truth, in COCO's format.
        images: Folder of the images that it names, all of one size.
        sheet: PNG file to write.
        count: Number of images, from the first result. Defaults to 10.
        score: Lowest score that is drawn. Defaults to 0.5.

    Returns:
        ``sheet``.

    Raises:
        UserError: If an image can't be read, or the sheet can't be written.

    Example:
        >>> import torch
        >>> from mmfasternet.datasets import make_shapes
        >>> data = make_shapes('shapes', num_train=2, num_val=1)
        >>> nothing = dict(labels=torch.tensor([]), scores=torch.tensor([]), masks=[])
        >>> results = [dict(img_id=1, pred_instances=nothing)]
        >>> draw_sheet(results, data / 'annotations/instances_val.json', data / 'val', 'sheet.png').name
        'sheet.png'
    """
    coco = json.loads(Path(annotation_file).read_text())
    names = [category['name'] for category in coco['categories']]
    labels = {category['id']: label for label, category in enumerate(coco['categories'])}
    files = {image['id']: Path(images, image['file_name']) for image in coco['images']}

    pairs = []
    for result in results[:count]:
        image = _read(files[result['img_id']])
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
        pairs.append((image, truth, predicted))
    return _write_sheet(pairs, names, sheet)


def draw_semantic_sheet(
    predictions: str | Path,
    truth: str | Path,
    images: str | Path,
    sheet: str | Path,
    classes: Sequence[str],
    count: int = 10,
) -> Path:
    """Draw images in pairs, with the true classes on the left and the predicted ones on the right, below a legend.

    The images are drawn in grey, so that every colour is a class.

    Args:
        predictions: Folder of semantic maps that ``tools/test.py --out`` wrote: PNGs, 0 where there is no class and k
            where there is ``classes[k - 1]``.
        truth: Folder of the true maps, with the same names.
        images: Folder of the images, with the same names, all of one size.
        sheet: PNG file to write.
        classes: Names of the classes without the background.
        count: Number of images, the first ones by name. Defaults to 10.

    Returns:
        ``sheet``.

    Raises:
        UserError: If an image or a map can't be read, or the sheet can't be written.

    Example:
        >>> from mmfasternet.datasets import CLASSES, make_shapes
        >>> data = make_shapes('shapes', num_train=2, num_val=1)
        >>> maps = data / 'semantic/val'
        >>> draw_semantic_sheet(maps, maps, data / 'val', 'sheet.png', CLASSES).name
        'sheet.png'
    """
    pairs = []
    for path in sorted(Path(predictions).glob('*.png'))[:count]:
        maps = [_read(Path(folder, path.name), cv2.IMREAD_UNCHANGED) for folder in (truth, predictions)]
        regions = [
            [((classes_of == label + 1).astype(np.uint8), label, '') for label in range(len(classes))]
            for classes_of in maps
        ]
        grey = _read(Path(images, path.name), cv2.IMREAD_GRAYSCALE)
        pairs.append((cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), *regions))
    return _write_sheet(pairs, classes, sheet, legend=True)


def _read(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise UserError(f'{path} cannot be read as an image')
    return image


def _write_sheet(
    pairs: list[tuple[np.ndarray, list[_Region], list[_Region]]],
    names: Sequence[str],
    sheet: str | Path,
    legend: bool = False,
) -> Path:
    """Write images, each with its true and its predicted regions, in rows of pairs."""
    colours = [_colour(label, len(names)) for label in range(len(names))]
    drawn = [
        np.hstack([_tile(image, truth, colours, 'truth'), _tile(image, predicted, colours, 'predicted')])
        for image, truth, predicted in pairs
    ]
    drawn += [np.full_like(drawn[0], 255)] * (-len(drawn) % _PAIRS)
    rows = [np.hstack(drawn[start : start + _PAIRS]) for start in range(0, len(drawn), _PAIRS)]
    if legend:
        rows.insert(0, _legend(names, colours, rows[0].shape[1]))
    # A palette makes the file a third as large, which matters where sheets are kept in a repository.
    image = Image.fromarray(np.vstack(rows)[:, :, ::-1]).quantize(256, dither=Image.Dither.NONE)
    file = io.BytesIO()
    image.save(file, 'png', optimize=True)
    return write_file(sheet, file.getvalue())


def _legend(names: Sequence[str], colours: list[tuple[int, int, int]], width: int) -> np.ndarray:
    """A line that names the classes, each behind a square of its colour, on white."""
    line = np.full((_TITLE, width, 3), 255, np.uint8)
    x = _GAP
    for name, colour in zip(names, colours, strict=True):
        cv2.rectangle(line, (x, 8), (x + 14, 22), colour, -1)
        cv2.rectangle(line, (x, 8), (x + 14, 22), (0, 0, 0), 1)
        cv2.putText(line, name, (x + 20, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        x += 44 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
    return line


def _tile(image: np.ndarray, regions: list[_Region], colours: list[tuple[int, int, int]], title: str) -> np.ndarray:
    """An image with outlines and texts below a title, on white."""
    height = round(_TILE * image.shape[0] / image.shape[1])
    tile = cv2.resize(image, (_TILE, height), interpolation=cv2.INTER_CUBIC)
    texts = []
    for mask, label, text in regions:
        colour = colours[label]
        mask = cv2.resize(mask * 255, (_TILE, height), interpolation=cv2.INTER_LINEAR) > 127
        tile[mask] = 0.65 * tile[mask] + 0.35 * np.array(colour)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.drawContours(tile, outlines, -1, colour, 1, cv2.LINE_AA)
        y, x = np.argwhere(mask).min(0) if mask.any() else (0, 0)
        if text:
            texts.append((text, int(x), int(y), colour))
    for text, x, y, colour in texts:  # above all outlines
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
        x, y = min(x, _TILE - wide - 4), max(y, high + 6)
        cv2.rectangle(tile, (x, y - high - 6), (x + wide + 4, y), (0, 0, 0), -1)
        cv2.putText(tile, text, (x + 2, y - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
    tile = cv2.copyMakeBorder(tile, _TITLE, _GAP, _GAP, _GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.putText(tile, title, (_GAP, _TITLE - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


def _colour(index: int, number: int) -> tuple[int, int, int]:
    """A bright colour, as far from those of the other classes as possible."""
    hue = np.uint8([[[180 * index // number, 160, 255]]])
    return tuple(cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0].tolist())
