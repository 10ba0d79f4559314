"""What a predictor is."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

__all__ = ['Predictor', 'drawn_name']

# Drawn images keep these formats; the others become PNGs, which every viewer shows.
_DRAWN = ('.jpg', '.jpeg', '.png')


def drawn_name(path: Path) -> str:
    """The name of the file into which an image is drawn.

    Args:
        path: The image.

    Returns:
        Its name, with another ending if viewers don't show its format.

    Example:
        >>> drawn_name(Path('photos/a.jpg')), drawn_name(Path('photos/b.tif'))
        ('a.jpg', 'b.tif.png')
    """
    return path.name if path.suffix.lower() in _DRAWN else f'{path.name}.png'


class Predictor(ABC):
    """A model with its weights, and how its predictions are written."""

    #: Folder → the name that an image's drawing has in it.
    names = dict(vis=drawn_name)
    #: The lists in ``predictions.json``.
    lists: tuple[str, ...] = ('images',)

    @abstractmethod
    def predict(self, images: list[np.ndarray]) -> list[Any]:
        """Predict a batch of images: blue, green and red, uint8 (H, W, 3), of any sizes."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What ``predictions.json`` says once, beside its lists."""

    @abstractmethod
    def entries(self, path: Path, image: np.ndarray, found: Any) -> dict[str, list[dict]]:
        """What an image adds to each list; raises a ValueError if a prediction is not finite."""

    @abstractmethod
    def drawings(self, path: Path, image: np.ndarray, found: Any) -> dict[str, Image.Image]:
        """The drawings of an image's predictions, one for each folder in ``names``."""
