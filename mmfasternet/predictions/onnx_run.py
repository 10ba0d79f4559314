"""Images or a video, predicted by an exported file."""

from pathlib import Path

from mmfasternet.datasets import find_images
from mmfasternet.errors import UserError

from .exported_file import ExportedFile
from .onnx_predictors import onnx_predictor
from .video import VIDEOS, write_video
from .writing import write_predictions

__all__ = ['predict_with_file']


def predict_with_file(
    file: str | Path,
    inputs: str | Path,
    out_dir: str | Path,
    score_thr: float = 0.3,
    batch_size: int | None = None,
) -> tuple[int, dict[Path, str]]:
    """Predict with a file that ``tools/export.py`` wrote, draw what is found, and write it as JSON.

    Results are those of :func:`~mmfasternet.engine.inference.predict_images`, in the same files.

    Args:
        file: A complete model, ``*.onnx``, ``*.ncnn.param`` or ``*.pte``.
        inputs: An image, a folder of images, or a video.
        out_dir: Folder for the results.
        score_thr: Lowest score, from 0 to 1, of an object that is drawn and written. Defaults to 0.3.
        batch_size: Number of images per run of a file that takes any number. None means that of the file, or 1.
            Defaults to None.

    Returns:
        The number of images, or frames, with results; and image → why it was left out.

    Raises:
        UserError: If the file or the inputs can't be read, or a result can't be written or would replace an input.
    """
    model = _open(file)
    if batch_size is not None and model.batch and batch_size != model.batch:
        raise UserError(f'{file} takes {model.batch} images per batch, but got --batch-size {batch_size}; leave it out')
    if not 0 <= score_thr <= 1:
        raise UserError(f'a score is from 0 to 1, but got --score-thr {score_thr}')
    predictor = onnx_predictor(model, score_thr)
    size = model.batch or (1 if batch_size is None else batch_size)
    if Path(inputs).suffix.lower() in VIDEOS and not Path(inputs).is_dir():
        return write_video(lambda: predictor, inputs, out_dir, size)
    images = find_images(inputs)
    left_out = write_predictions(lambda: predictor, type(predictor), images, out_dir, size)
    return len(images) - len(left_out), left_out


def _open(file: str | Path) -> ExportedFile:
    """The file in its runtime, which alone is imported."""
    if Path(file).suffix in ('.param', '.pte'):
        from .maps_file import open_maps_file

        return open_maps_file(file)
    from .onnx_file import OnnxFile

    return OnnxFile(file)
