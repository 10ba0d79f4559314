"""What the graphs of all complete models share: an image made ready, its feature maps, and what is refused."""

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfasternet.errors import UserError

from .table import HEADS

__all__ = ['Graph', 'padding_colour', 'refuse', 'takes_rgb']


class Graph(nn.Module):
    """What a model's own ``predict`` computes for an image, without its lists, structures and branches.

    The learned parts and all settings are the model's. The steps between them are rewritten, since the model's need
    sizes that a graph does not know in advance.

    Args:
        model: A model in evaluation mode.
        pad: As for :func:`~mmfasternet.deploy.heads.complete_graph`. Defaults to None.
        batched: The same. Defaults to False.

    Raises:
        UserError: If a part or a setting of the model is not what the steps are written for.
    """

    # What the model does, as the file's metadata names it.
    task: str
    # Names of what forward returns.
    outputs: tuple[str, ...]
    # The classes of models, and of their parts, that the steps are written for, in the order in which they are checked.
    # A subclass may do anything else. A part that a model lacks needs no steps.
    models: tuple[type, ...]
    kinds: dict[str, tuple[type, ...]]
    # Whether the steps know images that are padded before the model.
    takes_pad = False

    def __init__(self, model: nn.Module, pad: dict | None = None, batched: bool = False) -> None:
        super().__init__()
        for obstacle in self._obstacles(model):
            refuse(model, obstacle)
        if pad and not self.takes_pad:
            refuse(model, "its config's test pipeline pads images")
        self.model = model
        self.pad = pad
        self.batched = batched

    @property
    def heads(self) -> list[nn.Module]:
        """The learned parts behind the neck; each is called as a module."""
        raise NotImplementedError

    @property
    def body(self) -> tuple[nn.Module, nn.Module]:
        """The first and the last learned part before the heads."""
        return self.model.backbone, self.model.neck if self.model.with_neck else self.model.backbone

    @property
    def divisor(self) -> int:
        """What the data preprocessor makes the sides of an image divisible by."""
        return self.model.data_preprocessor.pad_size_divisor

    def obstacles(self, model: nn.Module) -> Iterator[str]:
        """Settings of the model's parts that the steps do not support."""
        raise NotImplementedError

    def predict(self, image: Tensor) -> list[np.ndarray]:
        """The outputs for an image, as the model's own ``predict`` finds them."""
        raise NotImplementedError

    def check(self, found: Sequence[np.ndarray], expected: Sequence[np.ndarray], precision: str) -> str:
        """Make sure that outputs are the expected ones as far as the precision allows; says how they differ."""
        raise NotImplementedError

    @property
    def num_classes(self) -> int:
        """Number of the classes that labels stand for."""
        raise NotImplementedError

    @property
    def facts(self) -> dict[str, float]:
        """What the metadata of a file says of the settings that its outputs depend on."""
        return {}

    @property
    def decoding(self) -> dict[str, Any] | None:
        """What boxes are made of the head's maps by, see ``DenseGraph``; None of what gives anything else."""
        return None

    def maps(self, image: Tensor) -> Sequence[Sequence[Tensor]]:
        """The head's maps of images, where ``decoding`` says how they are read."""
        raise NotImplementedError

    def of_each(self, found: Sequence[np.ndarray], number: int) -> list[list[np.ndarray]]:
        """The outputs for each image."""
        return [[output[image] for output in found] for image in range(number)] if self.batched else [list(found)]

    def features(self, image: Tensor) -> Sequence[Tensor]:
        """The feature maps of images, which are normalized and padded as by the model's data preprocessor."""
        preprocessor = self.model.data_preprocessor
        image = self._padded(image)
        # Configs load images as blue, green, red: without a conversion the model was trained on that order.
        if not takes_rgb(preprocessor):
            image = image.flip(1)
        if preprocessor._enable_normalize:
            image = (image - preprocessor.mean) / preprocessor.std
        maps = self.model.backbone(_pad(image, self.divisor, preprocessor.pad_value))
        return self.model.neck(maps) if self.model.with_neck else maps

    def padded_sides(self, shape: Sequence[int]) -> list[int]:
        """Height and width of an image of this shape as the backbone sees it."""
        for divisor in ((self.pad or {}).get('size_divisor', 1), self.divisor):
            shape = [side + -side % divisor for side in shape]
        return shape

    def _padded(self, image: Tensor) -> Tensor:
        """Padded on the right and below with a colour, where the config's pipeline does that."""
        if self.pad is None:
            return image
        colour = image.new_tensor(self.pad['pad_val']['img'][::-1])[:, None, None]
        return _pad(image - colour, self.pad['size_divisor'], 0) + colour

    def _obstacles(self, model: nn.Module) -> Iterator[str]:
        if type(model) not in self.models:
            yield f'it is not a {self.models[0].__name__}'
        for name, kinds in self.kinds.items():
            for part in _parts(model, name):
                if type(part) not in kinds:
                    yield f'its {name} is a {type(part).__name__}, not a {kinds[0].__name__}'
        for setting in self.obstacles(model):
            yield f'it has {setting}'


def takes_rgb(preprocessor: nn.Module) -> bool:
    """Whether a model was trained on red, green, blue, into which its preprocessor turns what configs load.

    Args:
        preprocessor: The data preprocessor of a model of mmdet, mmseg or mmpretrain.

    Returns:
        False for blue, green, red.

    Example:
        >>> from mmengine.model import ImgDataPreprocessor
        >>> takes_rgb(ImgDataPreprocessor(bgr_to_rgb=True)), takes_rgb(ImgDataPreprocessor())
        (True, False)
    """
    # mmpretrain's is called otherwise.
    return getattr(preprocessor, 'to_rgb', False) or getattr(preprocessor, '_channel_conversion', False)


def padding_colour(preprocessor: nn.Module) -> list[float]:
    """The colour of pixels that a preprocessor adds to an image, which it does after it has normalized it.

    Args:
        preprocessor: The data preprocessor of a model of mmdet, mmseg or mmpretrain.

    Returns:
        Its red, green and blue before they are normalized.

    Example:
        >>> from mmengine.model import ImgDataPreprocessor
        >>> padding_colour(ImgDataPreprocessor(mean=[1, 2, 3], std=[2, 2, 2], pad_value=1))
        [5.0, 4.0, 3.0]
    """
    colour = torch.full((3,), float(preprocessor.pad_value))
    if preprocessor._enable_normalize:
        colour = colour * preprocessor.std.flatten() + preprocessor.mean.flatten()
    return colour.tolist() if takes_rgb(preprocessor) else colour.flip(0).tolist()


def refuse(model: nn.Module, reason: str) -> NoReturn:
    """Say that a model can't be exported completely.

    Args:
        model: The model.
        reason: What stands in the way.

    Raises:
        UserError: Always.

    Example:
        >>> refuse(nn.Identity(), 'it has no head')
        Traceback (most recent call last):
        mmfasternet.errors.UserError: this Identity cannot be exported completely, since it has no head; ...
    """
    raise UserError(
        f'this {type(model).__name__} cannot be exported completely, since {reason}; supported are the heads '
        f'{", ".join(HEADS)} with their usual parts, and --part neck and --part backbone take any model'
    )


def _parts(model: nn.Module, name: str) -> list[nn.Module]:
    """The parts of a dotted name, where a list of modules stands for each of them."""
    parts = [model]
    for step in name.split('.'):
        found = [getattr(part, step, None) for part in parts]
        parts = [one for part in found for one in (part if isinstance(part, nn.ModuleList) else [part])]
    return [part for part in parts if part is not None]


def _pad(image: Tensor, divisor: int, value: float) -> Tensor:
    """Padded on the right and below, to sides that the divisor divides."""
    height, width = image.shape[2:]
    return F.pad(image, (0, -width % divisor, 0, -height % divisor), value=value)
