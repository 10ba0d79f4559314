"""Pictures in, drawn pictures and COCO-format JSON out."""

from pathlib import Path
from typing import Any

from mmdet.apis import DetInferencer
from mmengine.config import Config
from PIL import Image
from pycocotools import mask as rle
from torch import nn

from mmfasternet.errors import UserError
from mmfasternet.files import write_json
from mmfasternet.weights.state_dict import check_whole_model, unwrap

__all__ = ['StrictDetInferencer', 'find_pictures', 'predict_pictures', 'to_coco']

PICTURES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


class StrictDetInferencer(DetInferencer):
    """mmdet's ``DetInferencer``, which fails if the checkpoint lacks an entry of the model."""

    def _load_weights_to_model(self, model: nn.Module, checkpoint: dict | None, cfg: Config) -> None:
        if checkpoint is not None:
            check_whole_model(model, unwrap(checkpoint, 'checkpoint'), 'checkpoint', heads_may_differ=False)
        super()._load_weights_to_model(model, checkpoint, cfg)


def find_pictures(path: str | Path) -> dict[Path, tuple[int, int]]:
    """The pictures at a path, with their sizes.

    Args:
        path: A picture, or a folder of pictures.

    Returns:
        Path → (width, height) in pixels, in alphabetical order.

    Raises:
        UserError: If there is no picture, or one can't be read.

    Example:
        >>> from PIL import Image
        >>> Image.new('RGB', (64, 48)).save('example.png')
        >>> find_pictures('example.png')
        {PosixPath('example.png'): (64, 48)}
    """
    path = Path(path)
    paths = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES) if path.is_dir() else [path]
    if not paths:
        raise UserError(f'no picture in {path}: looked for {", ".join(PICTURES)}')
    sizes = {}
    for picture in paths:
        try:
            with Image.open(picture) as image:
                sizes[picture] = image.size
        except OSError as error:
            raise UserError(f'{picture} can not be read as a picture: {error}') from error
    return sizes


def predict_pictures(
    cfg: Config,
    checkpoint: str,
    pictures: dict[Path, tuple[int, int]],
    out_dir: str | Path,
    score_thr: float = 0.3,
    batch_size: int = 1,
    device: str | None = None,
) -> Path:
    """Detect objects in pictures, draw them, and write them down.

    Args:
        cfg: Config of the detector.
        checkpoint: Its weights, path or address.
        pictures: Path → (width, height), from :func:`find_pictures`.
        out_dir: Folder that gets the drawn pictures (``vis/``) and ``predictions.json``.
        score_thr: Lowest score, from 0 to 1, of what is drawn and written. Defaults to 0.3.
        batch_size: Pictures at a time. Defaults to 1.
        device: Such as 'cpu' or 'cuda:0'. None takes a GPU if there is one. Defaults to None.

    Returns:
        Path of the JSON, a COCO data set with a ``score`` per annotation.

    Raises:
        CheckpointError: If the checkpoint can't be read or does not fit the detector.
    """
    inferencer = StrictDetInferencer(cfg, checkpoint, device)
    results = inferencer(
        [str(path) for path in pictures], batch_size=batch_size, out_dir=str(out_dir), pred_score_thr=score_thr
    )
    coco = to_coco(results['predictions'], pictures, inferencer.model.dataset_meta['classes'], score_thr)
    return write_json(Path(out_dir) / 'predictions.json', coco)


def to_coco(
    predictions: list[dict[str, Any]],
    pictures: dict[Path, tuple[int, int]],
    classes: tuple[str, ...],
    score_thr: float,
) -> dict[str, list[dict]]:
    """Write predictions as a COCO data set that pycocotools and annotation tools read.

    Args:
        predictions: For each picture ``labels``, ``scores``, ``bboxes`` (x1, y1, x2, y2 in pixels) and, from detectors
            with masks, ``masks`` (RLE).
        pictures: Path → (width, height), in the same order.
        classes: Names of the classes, in the order of the labels.
        score_thr: Lowest score to keep.

    Returns:
        ``images``, ``categories`` (ids from 1) and ``annotations``, each with a ``score``.

    Example:
        >>> prediction = dict(labels=[0], scores=[0.9], bboxes=[[1.0, 2.0, 4.0, 6.0]])
        >>> to_coco([prediction], {Path('a.png'): (8, 8)}, ('cat',), 0.3)['annotations'][0]['bbox']
        [1.0, 2.0, 3.0, 4.0]
    """
    images = [
        dict(id=i, file_name=path.name, width=width, height=height)
        for i, (path, (width, height)) in enumerate(pictures.items(), start=1)
    ]
    annotations = []
    for image, prediction in zip(images, predictions, strict=True):
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
    return dict(images=images, categories=categories, annotations=annotations)
