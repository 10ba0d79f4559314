"""Semantic maps: drawn over the image, as PNGs, and the share of each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from mmfasternet.datasets.palette import make_palette

from .base import Predictor, drawn_name
from .caption import add_legend

__all__ = ['MapPredictor', 'SemanticMap']

# How much of a class's colour covers the image.
_OPACITY = 0.5
# A class of a smaller share of the pixels is not in the legend.
_SHOWN = 0.001


class SemanticMap(NamedTuple):
    """The class of each pixel.

    Attributes:
        labels: Indices of the classes, uint8 (H, W).
        finite: Whether all scores that they were chosen by are finite. Defaults to True.
    """

    labels: np.ndarray
    finite: bool = True


class MapPredictor(Predictor):
    """A segmentor: ``vis/``, ``maps/`` with the number of the class of each pixel, and the classes' shares.

    Args:
        classes: Names of the classes.
        palette: Red, green and blue of each class, from 0 to 255. None, or too few, means made up ones.
    """

    names = dict(vis=drawn_name, maps=lambda path: f'{path.stem}.png')

    def __init__(self, classes: Sequence[str], palette: Any = None) -> None:
        self.classes = list(classes)
        known = isinstance(palette, (list, tuple)) and len(palette) >= len(self.classes)
        is_background = self.classes[0].lower() == 'background'
        self._palette = np.array(palette if known else make_palette(len(self.classes), is_background), np.uint8)

    def facts(self) -> dict[str, Any]:
        return dict(classes=self.classes)

    def entries(self, path: Path, image: np.ndarray, found: SemanticMap) -> dict[str, list[dict]]:
        if not found.finite:
            raise ValueError('a score is not finite')
        height, width = image.shape[:2]
        shares = {name: round(share, 6) for name, share in self._shares(found)}
        name = f'maps/{self.names["maps"](path)}'
        return dict(images=[dict(id=1, file_name=path.name, width=width, height=height, map=name, shares=shares)])

    def drawings(self, path: Path, image: np.ndarray, found: SemanticMap) -> dict[str, Image.Image]:
        # Over gray, so that every colour is a class; a black one, such as the background's, leaves it as it is.
        gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2RGB)
        covered = cv2.addWeighted(gray, 1 - _OPACITY, self._palette[found.labels], _OPACITY, 0)
        drawn = np.where(self._palette.any(1)[found.labels][..., None], covered, gray)
        drawn[_borders(found.labels)] = 255
        shares = sorted(zip(self._shares(found), self._palette.tolist(), strict=True), key=lambda pair: -pair[0][1])
        rows = [(colour, f'{name} {share:.1%}') for (name, share), colour in shares if share >= _SHOWN]
        mapped = Image.fromarray(found.labels)
        mapped.putpalette(self._palette.tobytes())  # viewers show colours, programs read the numbers
        return dict(vis=add_legend(Image.fromarray(drawn), rows), maps=mapped)

    def _shares(self, found: SemanticMap) -> list[tuple[str, float]]:
        counts = np.bincount(found.labels.ravel(), minlength=len(self.classes)) / found.labels.size
        return list(zip(self.classes, counts.tolist(), strict=True))


def _borders(labels: np.ndarray) -> np.ndarray:
    """The pixels whose neighbour to the right or below is of another class."""
    borders = np.zeros(labels.shape, bool)
    borders[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    borders[:-1] |= labels[1:] != labels[:-1]
    return borders
