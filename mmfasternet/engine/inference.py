"""From images to drawn predictions, and to predictions in a JSON; what differs between tasks is in ``predictors``."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmfasternet.engine.predictors import predictor_class
from mmfasternet.predictions import write_predictions

from .build import check_device

__all__ = ['predict_images']


def predict_images(
    cfg: Config,
    checkpoint: str,
    images: Sequence[Path],
    out_dir: str | Path,
    score_thr: float = 0.3,
    batch_size: int = 1,
    device: str | None = None,
) -> dict[Path, str]:
    """Predict images without annotations, draw what is found, and write it as JSON, each as soon as it is done.

    Everything is of the upright image, as its EXIF data turns it: what is drawn, the sizes in the JSON, boxes, masks
    and maps. ``predictions.json`` is written at the end, also at that of an interrupted run; until then, and after a
    kill, each finished image is a line of ``predictions.jsonl``.

    Args:
        cfg: Config of a detector, segmentor or classifier, see :func:`~mmfasternet.engine.config.load_config`.
        checkpoint: Its weights, a path or URL.
        images: Their paths, see :func:`~mmfasternet.datasets.find_images`; their names differ.
        out_dir: Folder for the drawn images (``vis/``) and ``predictions.json``: of a detector a COCO data set with a
            ``score`` per annotation; of a segmentor each image's share of each class, beside its map in ``maps/``; of a
            classifier each image's five most likely classes.
        score_thr: Lowest score, from 0 to 1, of an object that is drawn and written. Defaults to 0.3.
        batch_size: Number of images per batch. Defaults to 1.
        device: Such as 'cpu' or 'cuda:0'. None means a GPU if there is one. Defaults to None.

    Returns:
        Image → why it was left out, for each that can't be read, does not fit into memory, or has predictions that are
        not finite.

    Raises:
        CheckpointError: If the checkpoint can't be read or does not fit the model.
        UserError: If this machine has no such device, a result can't be written, or would replace one of the images or
            the result of another one.

    Example:
        >>> cfg = load_config('my_detector.py')  # doctest: +SKIP
        >>> predict_images(cfg, 'epoch_12.pth', find_images('photos'), 'outputs')  # doctest: +SKIP
        {}
    """
    if device:
        check_device(device)
    kind = predictor_class(cfg)
    return write_predictions(lambda: kind(cfg, checkpoint, device, score_thr), kind, images, out_dir, batch_size)
