"""From images to drawn predictions, and to predictions in COCO's format."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
import torch
from mmdet.apis import DetInferencer
from mmengine.config import Config
from pycocotools import mask as rle
from rich.console import Console
from rich.progress import track
from torch import nn

from mmfasternet.datasets import read_image
from mmfasternet.errors import UserError
from mmfasternet.files import replacing, write_file
from mmfasternet.locks import exclusive
from mmfasternet.weights.reader import use_safe_reader
from mmfasternet.weights.state_dict import check_whole_model, unwrap

from .build import check_device

__all__ = ['StrictDetInferencer', 'predict_images', 'to_coco']

# Drawn images keep these formats; the others become PNGs, which every viewer shows.
_DRAWN = ('.jpg', '.jpeg', '.png')


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
    images: Sequence[Path],
    out_dir: str | Path,
    score_thr: float = 0.3,
    batch_size: int = 1,
    device: str | None = None,
) -> dict[Path, str]:
    """Detect objects in images, draw them, and write them as JSON, each as soon as it is done.

    Everything is of the upright image, as its EXIF data turns it: what is drawn, the sizes in the JSON, boxes and
    masks. ``predictions.json`` is written at the end, also at that of an interrupted run; until then, and after a kill,
    each finished image is a line of ``predictions.jsonl``.

    Args:
        cfg: Config of the detector, see :func:`~mmfasternet.engine.config.load_config`.
        checkpoint: Its weights, a path or URL.
        images: Their paths, see :func:`~mmfasternet.datasets.find_images`; their names differ.
        out_dir: Folder for the drawn images (``vis/``) and ``predictions.json``, a COCO data set with a ``score`` per
            annotation.
        score_thr: Lowest score, from 0 to 1, that is drawn and written. Defaults to 0.3.
        batch_size: Number of images per batch. Defaults to 1.
        device: Such as 'cpu' or 'cuda:0'. None means a GPU if there is one. Defaults to None.

    Returns:
        Image → why it was left out, for each that can't be read, does not fit into memory, or has predictions that are
        not finite.

    Raises:
        CheckpointError: If the checkpoint can't be read or does not fit the detector.
        UserError: If this machine has no such device, a result can't be written, or would replace one of the images or
            the result of another one.

    Example:
        >>> cfg = load_config('my_detector.py')  # doctest: +SKIP
        >>> predict_images(cfg, 'epoch_12.pth', find_images('photos'), 'outputs')  # doctest: +SKIP
        {}
    """
    out_dir = Path(out_dir)
    if batch_size < 1:
        raise UserError(f'a batch must have at least 1 image, but got batch_size={batch_size}')
    if device:
        check_device(device)
    drawn = _drawn_paths(images, out_dir)
    left_out: dict[Path, str] = {}
    with exclusive(out_dir / '.image_demo.lock', f'writes predictions into {out_dir}'):
        inferencer = StrictDetInferencer(cfg, checkpoint, device, show_progress=False)
        lines = out_dir / 'predictions.jsonl'
        try:
            lines.unlink(missing_ok=True)  # of a run that was killed
            with lines.open('x', encoding='utf-8') as file:
                readable = _read(images, left_out)
                while batch := list(islice(readable, batch_size)):
                    for (path, image), prediction, sample in _predict(inferencer, batch, left_out):
                        _write_drawn(inferencer, image, sample, drawn[path], score_thr)
                        _write_line(file, path, image, prediction, score_thr, left_out)
        finally:
            if lines.exists():
                _write_coco(lines, out_dir / 'predictions.json', inferencer.model.dataset_meta['classes'])
    return left_out


def _drawn_paths(images: Sequence[Path], out_dir: Path) -> dict[Path, Path]:
    """Where each image is drawn; nothing that is given is written over, and no result twice."""
    names = [path.name if path.suffix.lower() in _DRAWN else f'{path.name}.png' for path in images]
    drawn = {path: out_dir / 'vis' / name for path, name in zip(images, names, strict=True)}
    given, taken = {path.resolve() for path in images}, {}
    for path, target in drawn.items():
        if target.resolve() in given:
            raise UserError(f'{target} is one of the images, and would be drawn over; choose another --out-dir')
        if (other := taken.setdefault(target.resolve(), path)) != path:
            raise UserError(f'{other} and {path} would both be drawn as {target}; rename one of them')
    return drawn


def _read(images: Iterable[Path], left_out: dict[Path, str]) -> Iterator[tuple[Path, np.ndarray]]:
    for path in track(images, 'images', console=Console(stderr=True), transient=True):
        try:
            yield path, read_image(path)
        except UserError as error:
            left_out[path] = str(error)


def _predict(
    inferencer: StrictDetInferencer, batch: list[tuple[Path, np.ndarray]], left_out: dict[Path, str]
) -> Iterator[tuple[tuple[Path, np.ndarray], dict[str, Any], Any]]:
    """Each image of a batch with its prediction, as a dict and as mmdet's sample."""
    try:
        images = [image for _, image in batch]
        samples = inferencer(images, batch_size=len(images), return_datasamples=True)['predictions']
        found = [(given, inferencer.pred2dict(sample), sample) for given, sample in zip(batch, samples, strict=True)]
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) and 'allocate memory' not in str(error):
            raise
        found = []
        if len(batch) == 1:
            path, image = batch[0]
            left_out[path] = f'{path} has {image.shape[1]} × {image.shape[0]} pixels, which do not fit into memory'
        else:
            for given in batch:
                yield from _predict(inferencer, [given], left_out)
    yield from found


def _write_drawn(inferencer: StrictDetInferencer, image: np.ndarray, sample: Any, path: Path, score_thr: float) -> None:
    visualizer = inferencer.visualizer
    visualizer.add_datasample(path.name, image[:, :, ::-1], sample, draw_gt=False, pred_score_thr=score_thr)
    _, data = cv2.imencode(path.suffix, visualizer.get_image()[:, :, ::-1])
    write_file(path, data.tobytes())


def _write_line(
    file: TextIO, path: Path, image: np.ndarray, prediction: dict, score_thr: float, left_out: dict[Path, str]
) -> None:
    """Write what was found in an image as a line."""
    height, width = image.shape[:2]
    try:
        line = json.dumps(to_coco([prediction], {path: (width, height)}, (), score_thr), allow_nan=False)
    except ValueError:
        left_out[path] = f'{path}: the detector predicts scores or boxes that are not finite; is its training sound?'
        return
    try:
        file.write(f'{line}\n')
        file.flush()
    except OSError as error:
        raise UserError(f'cannot write {file.name} ({error.strerror}); choose another --out-dir') from error


def _write_coco(lines: Path, path: Path, classes: Sequence[str]) -> None:
    """Turn lines of one image each into a COCO data set, without holding more than one of them in memory."""
    categories = to_coco([], {}, classes, 0)['categories']
    with replacing(path) as part, part.open('w', encoding='utf-8') as file:
        for key in ('images', 'annotations'):
            file.write(f'{"{" if key == "images" else ","}\n"{key}": [')
            for number, entry in enumerate(_entries(lines, key), 1):
                file.write(f'{"," * (number > 1)}\n{json.dumps(dict(entry, id=number))}')
            file.write('\n]')
        file.write(f',\n"categories": {json.dumps(categories)}\n}}\n')
    lines.unlink()


def _entries(lines: Path, key: str) -> Iterator[dict]:
    with lines.open(encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            if not line.endswith('\n'):
                return  # the disk became full while it was written
            for entry in json.loads(line)[key]:
                yield entry if key == 'images' else dict(entry, image_id=number)


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
