"""From images to drawn predictions, and to predictions in COCO's format."""

from pathlib import Path
from typing import Any

from mmdet.apis import DetInferencer
from mmengine.config import Config
from pycocotools import mask as rle
from torch import nn

from mmfasternet.files import write_json
from mmfasternet.weights.reader import use_safe_reader
from mmfasternet.weights.state_dict import check_whole_model, unwrap

from .build import check_device

__all__ = ['StrictDetInferencer', 'predict_images', 'to_coco']


class StrictDetInferencer(DetInferencer):
    """mmdet's ``DetInferencer`` that reads checkpoints safely, and fails if one lacks an entry of the model.

    Its arguments are those of ``DetInferencer``.

    Raises:
        CheckpointError: If the checkpoint can't be read or does not fit the detector.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        use_safe_reader()
        super().__init__(*args, **kwargs)

    def _load_weights_to_model(self, model: nn.Module, checkpoint: dict | None, cfg: Config) -> None:
        if checkpoint is not None:
            check_whole_model(model, unwrap(checkpoint, 'checkpoint'), 'checkpoint', heads_may_differ=False)
        super()._load_weights_to_model(model, checkpoint, cfg)


def predict_images(
    cfg: Config,
    checkpoint: str,
    images: dict[Path, tuple[int, int]],
    out_dir: str | Path,
    score_thr: float = 0.3,
    batch_size: int = 1,
    device: str | None = None,
) -> Path:
    """Detect objects in images, draw them, and write them as JSON.

    Args:
        cfg: Config of the detector, see :func:`~mmfasternet.engine.config.load_config`.
        checkpoint: Its weights, a path or URL.
        images: Path → (width, height) in pixels, see :func:`~mmfasternet.datasets.find_images`.
        out_dir: Folder for the drawn images (``vis/``) and ``predictions.json``.
        score_thr: Lowest score, from 0 to 1, that is drawn and written. Defaults to 0.3.
        batch_size: Number of images per batch. Defaults to 1.
        device: Such as 'cpu' or 'cuda:0'. None means a GPU if there is one. Defaults to None.

    Returns:
        Path of the JSON, a COCO data set with a ``score`` per annotation.

    Raises:
        CheckpointError: If the checkpoint can't be read or does not fit the detector.
        UserError: If this machine has no such device, or the JSON can't be written.

    Example:
        >>> cfg = load_config('my_detector.py')  # doctest: +SKIP
        >>> predict_images(cfg, 'epoch_12.pth', find_images('photos'), 'outputs')  # doctest: +SKIP
        PosixPath('outputs/predictions.json')
    """
    if device:
        check_device(device)
    inferencer = StrictDetInferencer(cfg, checkpoint, device)
    results = inferencer(
        [str(path) for path in images], batch_size=batch_size, out_dir=str(out_dir), pred_score_thr=score_thr
    )
    coco = to_coco(results['predictions'], images, inferencer.model.dataset_meta['classes'], score_thr)
    return write_json(Path(out_dir) / 'predictions.json', coco)


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
            if score < score_thr:
                continue
            annotation = dict(id=len(annotations) + 1, image_id=image['id'], category_id=label + 1, iscrowd=0)
            annotation.update(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1), score=score)
            if mask is not None:
                annotation.update(segmentation=mask, area=float(rle.area(mask)))
            annotations.append(annotation)
    categories = [dict(id=i, name=name) for i, name in enumerate(classes, start=1)]
    return dict(images=entries, categories=categories, annotations=annotations)
