"""Detected objects as a COCO data set."""

import math
from pathlib import Path
from typing import Any

from pycocotools import mask as rle

__all__ = ['to_coco']


def to_coco(
    predictions: list[dict[str, Any]],
    images: dict[Path, tuple[int, int]],
    classes: tuple[str, ...],
    score_thr: float,
) -> dict[str, list[dict]]:
    """Turn predictions into a COCO data set, which pycocotools and annotation tools read.

    Args:
        predictions: For each image ``labels``, ``scores``, ``bboxes`` (x1, y1, x2, y2 in pixels) and, from detectors
            with masks, ``masks`` (RLE).
        images: Path → (width, height) in pixels, in the same order.
        classes: Names of the classes, in the order of the labels.
        score_thr: Lowest score that is kept.

    Returns:
        ``images``, ``categories`` (ids from 1) and ``annotations``, each with a ``score``.

    Raises:
        ValueError: If a score or a box is not finite.

    Example:
        >>> prediction = dict(labels=[0], scores=[0.9], bboxes=[[1.0, 2.0, 4.0, 6.0]])
        >>> to_coco([prediction], {Path('a.png'): (8, 8)}, ('cat',), 0.3)['annotations'][0]['bbox']
        [1.0, 2.0, 3.0, 4.0]
    """
    entries = [
        dict(id=i, file_name=path.name, width=width, height=height)
        for i, (path, (width, height)) in enumerate(images.items(), start=1)
    ]
    annotations = []
    for image, prediction in zip(entries, predictions, strict=True):
        masks = prediction.get('masks', [None] * len(prediction['labels']))
        rows = zip(prediction['labels'], prediction['scores'], prediction['bboxes'], masks, strict=True)
        for label, score, (x1, y1, x2, y2), mask in rows:
            if not math.isfinite(score + x1 + y1 + x2 + y2):
                raise ValueError('a score or a box is not finite')
            if score < score_thr:
                continue
            annotation = dict(id=len(annotations) + 1, image_id=image['id'], category_id=label + 1, iscrowd=0)
            annotation.update(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1), score=score)
            if mask is not None:
                annotation.update(segmentation=mask, area=float(rle.area(mask)))
            annotations.append(annotation)
    categories = [dict(id=i, name=name) for i, name in enumerate(classes, start=1)]
    return dict(images=entries, categories=categories, annotations=annotations)
