"""Predictions of many images in a folder of results, each written as soon as it is done."""

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from mmfasternet.datasets import read_image
from mmfasternet.errors import UserError
from mmfasternet.files import replacing, write_file
from mmfasternet.locks import exclusive

from .base import Predictor

__all__ = ['Results', 'open_results', 'save_drawing', 'write_predictions']

# Whatever an image's drawing in a folder is saved by.
_Save = Callable[[Path, str, Image.Image], None]


def write_predictions(
    make: Callable[[], Predictor], kind: type[Predictor], images: Sequence[Path], out_dir: str | Path, batch_size: int
) -> dict[Path, str]:
    """Predict images, draw what is found, and write it as JSON, each as soon as it is done.

    Args:
        make: Makes the predictor.
        kind: The predictor's class.
        images: Their paths, see :func:`~mmfasternet.datasets.find_images`; their names differ.
        out_dir: Folder for the drawn images (``vis/``) and ``predictions.json``, see :class:`Predictor`.
        batch_size: Number of images per batch.

    Returns:
        Image → why it was left out, for each that can't be read, does not fit into memory, or has predictions that are
        not finite.

    Raises:
        UserError: If a result can't be written, or would replace one of the images or the result of another one.
    """
    targets = _targets(images, Path(out_dir), kind)

    def save(path: Path, folder: str, drawing: Image.Image) -> None:
        save_drawing(targets[path, folder], drawing)

    with open_results(make, out_dir, batch_size, save) as results:
        results.add(_read(track(images, 'images', console=Console(stderr=True), transient=True), results.left_out))
    return results.left_out


@contextlib.contextmanager
def open_results(
    make: Callable[[], Predictor], out_dir: str | Path, batch_size: int, save: _Save
) -> Iterator['Results']:
    """Open a folder of results, which one process at a time may do.

    ``predictions.json`` is written at the end, also at that of an interrupted run; until then, and after a kill, each
    finished image is a line of ``predictions.jsonl``.

    Args:
        make: Makes the predictor.
        out_dir: The folder.
        batch_size: Number of images per batch.
        save: Saves a drawing: it gets the image's path, the folder's name and the drawing.

    Yields:
        What images are added to.

    Raises:
        UserError: If the batch size is wrong, or the folder is in use or can't be written.
    """
    out_dir = Path(out_dir)
    if batch_size < 1:
        raise UserError(f'a batch must have at least 1 image, but got batch_size={batch_size}')
    with exclusive(out_dir / '.image_demo.lock', f'writes predictions into {out_dir}'):
        predictor = make()
        lines = out_dir / 'predictions.jsonl'
        try:
            lines.unlink(missing_ok=True)  # of a run that was killed
            with lines.open('x', encoding='utf-8') as file:
                yield Results(predictor, batch_size, save, file)
        finally:
            if lines.exists():
                _join(lines, out_dir / 'predictions.json', predictor)


class Results:
    """Predictions that are written as they come.

    Args:
        predictor: What predicts.
        batch_size: Number of images per batch.
        save: Saves a drawing.
        file: Gets a line for each image.
    """

    def __init__(self, predictor: Predictor, batch_size: int, save: _Save, file: io.TextIOBase) -> None:
        self.predictor, self._batch_size, self._save, self._file = predictor, batch_size, save, file
        #: Image → why it was left out.
        self.left_out: dict[Path, str] = {}
        #: Number of images that are written.
        self.done = 0

    def add(self, images: Iterator[tuple[Path, np.ndarray]]) -> None:
        """Predict images, each a path and blue, green and red of its pixels, and write what is found."""
        while batch := list(islice(images, self._batch_size)):
            for path, image, found in self._predict(batch):
                self._write(path, image, found)

    def _predict(self, batch: list[tuple[Path, np.ndarray]]) -> Iterator[tuple[Path, np.ndarray, Any]]:
        """Each image of a batch with what is predicted for it."""
        try:
            found = self.predictor.predict([image for _, image in batch])
            predicted = [(*given, one) for given, one in zip(batch, found, strict=True)]
        except (MemoryError, RuntimeError, ValueError) as error:
            reason = _reason(error)
            if reason is None:
                raise
            predicted = []
            if len(batch) == 1:
                path, image = batch[0]
                self.left_out[path] = f'{path} has {image.shape[1]} × {image.shape[0]} pixels, {reason}'
            else:
                for given in batch:
                    yield from self._predict([given])
        yield from predicted

    def _write(self, path: Path, image: np.ndarray, found: Any) -> None:
        """Write an image's drawings, and then what was found in it as a line."""
        try:
            line = json.dumps(self.predictor.entries(path, image, found), allow_nan=False)
        except ValueError:
            self.left_out[path] = (
                f'{path}: the model predicts scores or boxes that are not finite; is its training sound?'
            )
            return
        for folder, drawing in self.predictor.drawings(path, image, found).items():
            self._save(path, folder, drawing)
        try:
            self._file.write(f'{line}\n')
            self._file.flush()
        except OSError as error:
            raise UserError(f'cannot write {self._file.name} ({error.strerror}); choose another --out-dir') from error
        self.done += 1


def save_drawing(target: Path, drawing: Image.Image) -> None:
    """Save a drawing in the format of its target's ending.

    Args:
        target: The file.
        drawing: The drawing.

    Raises:
        UserError: If it can't be written.

    Example:
        >>> save_drawing(Path('vis/a.png'), Image.new('RGB', (64, 48)))
    """
    data = io.BytesIO()
    drawing.save(data, Image.registered_extensions()[target.suffix.lower()], quality=95)
    write_file(target, data.getvalue())


def _targets(images: Sequence[Path], out_dir: Path, kind: type[Predictor]) -> dict[tuple[Path, str], Path]:
    """Image and folder → where its drawing goes; nothing that is given is written over, and no result twice."""
    targets = {(path, folder): out_dir / folder / name(path) for path in images for folder, name in kind.names.items()}
    given, taken = {path.resolve() for path in images}, {}
    for (path, _), target in targets.items():
        if target.resolve() in given:
            raise UserError(f'{target} is one of the images, and would be drawn over; choose another --out-dir')
        if (other := taken.setdefault(target.resolve(), path)) != path:
            raise UserError(f'{other} and {path} would both be drawn as {target}; rename one of them')
    return targets


def _read(images: Iterable[Path], left_out: dict[Path, str]) -> Iterator[tuple[Path, np.ndarray]]:
    for path in images:
        try:
            yield path, read_image(path)
        except UserError as error:
            left_out[path] = str(error)


def _reason(error: Exception) -> str | None:
    """Why an image of this size has no prediction, or None if its size is not why."""
    # torch says one of these of a CPU and the other of a GPU, ONNX Runtime the first of both.
    text = str(error)
    if isinstance(error, MemoryError) or 'allocate memory' in text or 'out of memory' in text:
        return 'which do not fit into memory'
    return 'fewer than FasterNet takes' if 'FasterNet takes images of at least' in text else None


def _join(lines: Path, path: Path, predictor: Predictor) -> None:
    """Turn lines of one image each into one JSON, without holding more than one of them in memory."""
    with replacing(path) as part, part.open('w', encoding='utf-8') as file:
        file.write('{')
        for key in predictor.lists:
            file.write(f'\n"{key}": [')
            for number, entry in enumerate(_entries(lines, key), 1):
                file.write(f'{"," * (number > 1)}\n{json.dumps(dict(entry, id=number))}')
            file.write('\n],')
        facts = (f'\n{json.dumps(key)}: {json.dumps(value)}' for key, value in predictor.facts().items())
        file.write(','.join(facts) + '\n}\n')
    lines.unlink()


def _entries(lines: Path, key: str) -> Iterator[dict]:
    with lines.open(encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            if not line.endswith('\n'):
                return  # the disk became full while it was written
            for entry in json.loads(line)[key]:
                yield entry if key == 'images' else dict(entry, image_id=number)
