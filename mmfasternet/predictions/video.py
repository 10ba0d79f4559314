"""Predictions of a video's frames, and a video of their drawings."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from mmfasternet.errors import UserError
from mmfasternet.files import replacing

from .base import Predictor
from .writing import open_results, save_drawing

__all__ = ['VIDEOS', 'write_video']

#: Endings of the names of videos.
VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')
# Frames per second of a video that does not say it.
_RATE = 25.0


def write_video(
    make: Callable[[], Predictor], video: str | Path, out_dir: str | Path, batch_size: int
) -> tuple[int, dict[Path, str]]:
    """Predict the frames of a video, draw what is found into a video, and write it as JSON.

    Args:
        make: Makes the predictor.
        video: The video; OpenCV turns it upright.
        out_dir: Folder for the drawn video (``vis/NAME.mp4``), ``predictions.json``, whose images are the frames, and a
            segmentor's ``maps/``.
        batch_size: Number of frames per batch.

    Returns:
        The number of frames with results, and frame → why it was left out.

    Raises:
        UserError: If the video can't be read, or a result can't be written or would replace it.
    """
    video = Path(video)
    target = Path(out_dir, 'vis', f'{video.stem}.mp4')
    if target.resolve() == video.resolve():
        raise UserError(f'{target} is the video, and would be drawn over; choose another --out-dir')
    source = cv2.VideoCapture(str(video))
    try:
        # A video without a first frame creates no file.
        read, first = source.read()
        if not read:
            raise UserError(f'{video} cannot be read as a video')
        drawn = _Drawing(target, source.get(cv2.CAP_PROP_FPS) or _RATE)

        def save(frame: Path, folder: str, drawing: Image.Image) -> None:
            if folder == 'vis':
                drawn.add(drawing)
            else:
                save_drawing(Path(out_dir, folder, frame.name), drawing)

        try:
            with open_results(make, out_dir, batch_size, save) as results:
                results.add(_frames(source, first, video))
        finally:
            drawn.close()
        return results.done, results.left_out
    finally:
        source.release()


def _frames(source: cv2.VideoCapture, frame: np.ndarray, video: Path) -> Iterator[tuple[Path, np.ndarray]]:
    """Each frame, under a name with its number from 1."""
    total = int(source.get(cv2.CAP_PROP_FRAME_COUNT))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task('frames', total=total if total > 0 else None)
        read, number = True, 1
        while read:
            yield Path(f'{video.stem}_{number:06}.png'), frame
            progress.advance(task)
            read, frame = source.read()
            number += 1


class _Drawing:
    """A video that grows by drawings, all in the size of the first; an interrupted run leaves those until then."""

    def __init__(self, target: Path, rate: float) -> None:
        self._target, self._rate = target, rate
        # OpenCV takes the format from the ending.
        self._part = target.with_name(f'.{target.stem}.{secrets.token_hex(8)}.mp4')
        self._writer: cv2.VideoWriter | None = None

    def add(self, drawing: Image.Image) -> None:
        if self._writer is None:
            # The encoder takes even sides alone.
            self._size = tuple(side + side % 2 for side in drawing.size)
            with contextlib.suppress(OSError):  # the writer says that it has no folder
                self._part.parent.mkdir(parents=True, exist_ok=True)
            self._writer = cv2.VideoWriter(str(self._part), cv2.VideoWriter_fourcc(*'mp4v'), self._rate, self._size)
            if not self._writer.isOpened():
                raise UserError(f'cannot write {self._target}: no permission, or OpenCV has no encoder for it here')
        sheet = Image.new('RGB', self._size, 'white')
        sheet.paste(drawing, (0, 0))
        self._writer.write(np.asarray(sheet)[:, :, ::-1])

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
        if self._part.exists():
            with replacing(self._target) as part:
                self._part.replace(part)
