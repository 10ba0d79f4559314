"""The most likely classes of an image: written below it, and with their scores."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmfasternet.datasets.palette import make_palette

from .base import Predictor
from .caption import add_legend

__all__ = ['RankingPredictor']


class RankingPredictor(Predictor):
    """A classifier: ``vis/``, and the most likely classes of each image as pairs of a label and a score.

    Args:
        classes: Names of the classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self._palette = make_palette(len(self.classes))

    def facts(self) -> dict[str, Any]:
        return dict(classes=self.classes)

    def entries(self, path: Path, image: np.ndarray, found: list[tuple[int, float]]) -> dict[str, list[dict]]:
        if not all(math.isfinite(score) for _, score in found):
            raise ValueError('a score is not finite')
        height, width = image.shape[:2]
        top = [dict(label=label, name=self.classes[label], score=round(score, 6)) for label, score in found]
        return dict(images=[dict(id=1, file_name=path.name, width=width, height=height, top=top)])

    def drawings(self, path: Path, image: np.ndarray, found: list[tuple[int, float]]) -> dict[str, Image.Image]:
        rows = [(self._palette[label], f'{self.classes[label]} {score:.2f}') for label, score in found]
        return dict(vis=add_legend(Image.fromarray(image[:, :, ::-1]), rows))
