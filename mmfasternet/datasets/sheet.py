"""Sheet: predictions beside the truth, many pictures in one."""

import json
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from ..files import write_whole

__all__ = ['draw_sheet']

TILE = 384  # width of a picture on the sheet, in pixels
GAP = 6
TITLE = 28  # height of the line over a pair
PAIRS = 2  # in a row


def draw_sheet(
    results: list[dict],
    annotation_file: str | Path,
    pictures: str | Path,
    sheet: str | Path,
    count: int = 10,
    score: float = 0.5,
) -> Path:
    """Draws pictures in pairs, the truth to the left and the predictions to the right.

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
    names = {category['id']: category['name'] for category in coco['categories']}
    labels = list(names)  # a predicted label counts the categories
    files = {image['id']: Path(pictures, image['file_name']) for image in coco['images']}

    pairs = []
    for result in results[:count]:
        picture = cv2.imread(str(files[result['img_id']]))
        if picture is None:
            raise OSError(f'{files[result["img_id"]]} is no picture that can be read')
        truth = [
            (annotation['category_id'], '', annotation['segmentation'])
            for annotation in coco['annotations']
            if annotation['image_id'] == result['img_id']
        ]
        found = result['pred_instances']
        predicted = [
            (labels[int(label)], f' {certainty:.2f}', rle)
            for label, certainty, rle in zip(found['labels'], found['scores'].tolist(), found['masks'], strict=True)
            if certainty >= score
        ]
        pairs.append(np.hstack([_tile(picture, truth, names, 'truth'), _tile(picture, predicted, names, 'predicted')]))

    pairs += [np.full_like(pairs[0], 255)] * (-len(pairs) % PAIRS)
    rows = [np.hstack(pairs[start : start + PAIRS]) for start in range(0, len(pairs), PAIRS)]
    done, data = cv2.imencode('.png', np.vstack(rows))
    return write_whole(sheet, data.tobytes())


def _tile(picture: np.ndarray, instances: list[tuple[int, str, dict]], names: dict[int, str], title: str) -> np.ndarray:
    """Picture with outlines and names under a title, on white."""
    height = round(TILE * picture.shape[0] / picture.shape[1])
    tile = cv2.resize(picture, (TILE, height), interpolation=cv2.INTER_CUBIC)
    texts = []
    for category, note, rle in instances:
        colour = _colour(list(names).index(category), len(names))
        mask = cv2.resize(coco_mask.decode(rle) * 255, (TILE, height), interpolation=cv2.INTER_LINEAR) > 127
        tile[mask] = 0.65 * tile[mask] + 0.35 * np.array(colour)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.drawContours(tile, outlines, -1, colour, 1, cv2.LINE_AA)
        y, x = np.argwhere(mask).min(0) if mask.any() else (0, 0)
        texts.append((names[category] + note, int(x), int(y), colour))
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
