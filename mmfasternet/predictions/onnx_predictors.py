"""The models in exported files as predictors, a class for each task."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from mmfasternet.datasets.palette import make_palette
from mmfasternet.errors import UserError

from .base import Predictor
from .classification import RankingPredictor
from .coco import to_coco
from .exported_file import ExportedFile, Outputs
from .masks import paste_masks, stretch_masks
from .objects import draw_objects
from .segmentation import MapPredictor, SemanticMap

__all__ = ['Objects', 'onnx_predictor']


def onnx_predictor(file: ExportedFile, score_thr: float = 0.3) -> Predictor:
    """The predictor of a file's task.

    Args:
        file: The file.
        score_thr: Lowest score, from 0 to 1, of a detected object. Defaults to 0.3.

    Returns:
        The predictor.
    """
    if file.metadata.task == 'detection':
        return _Detection(file, score_thr)
    return (_Segmentation if file.metadata.task == 'segmentation' else _Classification)(file)


class Objects(NamedTuple):
    """What a detector finds in an image, in its pixels.

    Attributes:
        boxes: x1, y1, x2, y2 (n, 4).
        scores: From 0 to 1 (n).
        labels: Indices of the classes (n).
        masks: A boolean mask (H, W) of each; None from a detector without masks.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: list[np.ndarray] | None


class _Detection(Predictor):
    """A detector: ``vis/``, and ``images``, ``annotations`` and ``categories`` as COCO has them."""

    lists = ('images', 'annotations')

    def __init__(self, file: ExportedFile, score_thr: float) -> None:
        self._file, self._score_thr = file, score_thr
        self._classes = file.metadata.classes
        self._palette = file.metadata.palette or make_palette(len(self._classes))

    def predict(self, images: list[np.ndarray]) -> list[Objects]:
        return [self._objects(image, found) for image, found in zip(images, self._file(images), strict=True)]

    def _objects(self, image: np.ndarray, found: Outputs) -> Objects:
        """The objects in the pixels of the image as it is given."""
        values, (height, width) = found.values, image.shape[:2]
        boxes, labels = values['boxes'], _known(values['labels'], self._classes, self._file)
        # A padded image has boxes in its border, and others that reach into it.
        boxes = boxes.clip(0, [found.width, found.height] * 2)
        scale = np.array([found.width / width, found.height / height] * 2, np.float32)
        # Not "lowest score at most this one", which would leave out what is not finite, and that has a message.
        kept = ~(values['scores'] < self._score_thr)
        if self._file.shape:
            kept &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, masks = boxes[kept] / scale, values.get('masks')
        if masks is not None and masks.dtype == bool:
            masks = stretch_masks(masks[kept, : found.height, : found.width], height, width)
        elif masks is not None:
            masks = paste_masks(masks[kept], boxes, height, width, self._file.metadata.mask_thr)
        return Objects(boxes, values['scores'][kept], labels[kept], masks)

    def facts(self) -> dict[str, Any]:
        categories = to_coco([], {}, tuple(self._classes), 0)['categories']
        return dict(info=self._file.metadata.facts, categories=categories)

    def entries(self, path: Path, image: np.ndarray, found: Objects) -> dict[str, list[dict]]:
        height, width = image.shape[:2]
        prediction = dict(
            labels=found.labels.tolist(), scores=found.scores.tolist(), bboxes=found.boxes.astype(float).tolist()
        )
        if found.masks is not None:
            prediction['masks'] = [_encoded(mask) for mask in found.masks]
        coco = to_coco([prediction], {path: (width, height)}, (), self._score_thr)
        return {key: coco[key] for key in self.lists}

    def drawings(self, path: Path, image: np.ndarray, found: Objects) -> dict[str, Image.Image]:
        colours = [self._palette[label] for label in found.labels]
        rows = zip(found.labels, found.scores, strict=True)
        texts = [f'{self._classes[label]} {score:.2f}' for label, score in rows]
        return dict(vis=draw_objects(image, found.boxes, found.masks or (), colours, texts))


def _encoded(mask: np.ndarray) -> dict[str, Any]:
    runs = rle.encode(np.asfortranarray(mask, np.uint8))
    return dict(size=list(runs['size']), counts=runs['counts'].decode())


class _Segmentation(MapPredictor):
    """A segmentor: its map in the pixels of the image as it is given."""

    def __init__(self, file: ExportedFile) -> None:
        if len(file.metadata.classes) > 256:
            raise UserError(f'{file.path} has {len(file.metadata.classes)} classes; a map in a PNG has at most 256')
        super().__init__(file.metadata.classes, file.metadata.palette)
        self._file = file

    def predict(self, images: list[np.ndarray]) -> list[SemanticMap]:
        maps = []
        for image, found in zip(images, self._file(images), strict=True):
            labels = _known(found.values['classes'], self.classes, self._file)
            labels = Image.fromarray(labels[: found.height, : found.width].astype(np.uint8))
            maps.append(SemanticMap(np.asarray(labels.resize(image.shape[1::-1], Image.Resampling.NEAREST))))
        return maps

    def facts(self) -> dict[str, Any]:
        return dict(super().facts(), info=self._file.metadata.facts)


class _Classification(RankingPredictor):
    """A classifier: up to five classes of each image."""

    def __init__(self, file: ExportedFile) -> None:
        super().__init__(file.metadata.classes)
        self._file = file

    def predict(self, images: list[np.ndarray]) -> list[list[tuple[int, float]]]:
        found = [outputs.values for outputs in self._file(images)]
        return [
            list(zip(_known(one['labels'], self.classes, self._file).tolist(), one['scores'].tolist(), strict=True))
            for one in found
        ]

    def facts(self) -> dict[str, Any]:
        return dict(super().facts(), info=self._file.metadata.facts)


def _known(labels: np.ndarray, classes: list[str], file: ExportedFile) -> np.ndarray:
    """Labels that all have a name."""
    if labels.size and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise UserError(f'{file.path} gives the label {labels.max()}, but its metadata names {len(classes)} classes')
    return labels
