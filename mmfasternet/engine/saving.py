"""What a test leaves of its predictions for others to read: files that run nothing."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from mmengine.evaluator import BaseMetric

from mmfasternet.errors import UserError
from mmfasternet.files import write_file

__all__ = ['SavedMaps', 'SavedScores']


class SavedMaps(BaseMetric):
    """Writes a segmentor's semantic maps, each as a PNG of the numbers of the classes.

    mmseg's ``IoUMetric`` does so too, but images of the same name in several folders would replace each other there.

    Args:
        folder: To write to. A map lies in it as its image does in the folder of the images, and ends in ``.png``.
        images: Folder of the images. None means that each map lies in ``folder`` itself. Defaults to None.
    """

    default_prefix = 'maps'

    def __init__(self, folder: str | Path, images: str | Path | None = None) -> None:
        super().__init__()
        self.folder, self.images = Path(folder), images

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Write the maps of a batch."""
        for sample in data_samples:
            path = Path(_below(sample['img_path'], self.images)).with_suffix('.png')
            labels = sample['pred_sem_seg']['data'].squeeze().cpu().numpy()
            if sample.get('reduce_zero_label', False):
                labels = labels + 1  # as the annotations count
            write_file(self.folder / path, cv2.imencode('.png', labels.astype('uint8'))[1].tobytes())
            self.results.append(path.as_posix())

    def compute_metrics(self, results: list) -> dict:
        """None."""
        return {}


class SavedScores(BaseMetric):
    """Writes a classifier's scores as JSON: the classes, and for each image its file and a score for each class.

    Args:
        path: The file to write.
        classes: Names of the classes.
        images: Folder that the images' files are named from. None means their own. Defaults to None.
    """

    default_prefix = 'scores'

    def __init__(self, path: str | Path, classes: Sequence[str], images: str | Path | None = None) -> None:
        super().__init__()
        self.path, self.classes, self.images = path, list(classes), images

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the scores of a batch."""
        for sample in data_samples:
            scores = [round(score, 6) for score in sample['pred_score'].tolist()]
            self.results.append(dict(file=_below(sample['img_path'], self.images), scores=scores))

    def compute_metrics(self, results: list) -> dict:
        """Write the file."""
        try:
            lines = ',\n'.join(json.dumps(entry, allow_nan=False) for entry in results)
        except ValueError as error:
            raise UserError(
                f'{self.path} is not written, since scores are not finite; is the training sound?'
            ) from error
        write_file(self.path, f'{{"classes": {json.dumps(self.classes)},\n"images": [\n{lines}\n]}}\n'.encode())
        return {}


def _below(path: str, folder: str | Path | None) -> str:
    """The path of an image from a folder on; its name alone, if it is elsewhere."""
    relative = os.path.relpath(path, folder) if folder else '..'
    return os.path.basename(path) if relative.startswith('..') else Path(relative).as_posix()
