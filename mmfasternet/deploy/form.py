"""The sizes of an exported file's input and outputs, as far as they are chosen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from mmfasternet.deploy.heads import Graph
from mmfasternet.errors import UserError

__all__ = ['MASKS', 'PARTS', 'Form', 'form_of']

PARTS = ('backbone', 'neck', 'detector')
MASKS = ('full', 'small')
# FasterNet's, which divides the sides of images that it does not cut.
_STRIDE = 32


@dataclass(frozen=True)
class Form:
    """What is fixed of a file's sizes.

    Args:
        shape: Height and width of images, or None where they are free.
        batch: Number of images, or 'dynamic'.
        max_detections: The largest number of objects in an image, or None for that of the config.
        masks: One of ``MASKS``.
    """

    shape: tuple[int, int] | None
    batch: int | str
    max_detections: int | None
    masks: str

    def check_graph(self, graph: nn.Module) -> None:
        """Make sure that a graph can have these sizes.

        Args:
            graph: What is exported.

        Raises:
            UserError: If it can't.
        """
        if self.max_detections is not None and graph.task != 'detection':
            raise UserError(f'--max-detections limits the objects of a detector, but this model does {graph.task}')
        divisor = _STRIDE
        if isinstance(graph, Graph):
            divisor = math.lcm(divisor, graph.divisor, (graph.pad or {}).get('size_divisor', 1))
        if self.shape and any(side % divisor for side in self.shape):
            height, width = (-(-side // divisor) * divisor for side in self.shape)
            raise UserError(
                f'both sides of --shape must be multiples of {divisor} for this model, but got '
                f'{self.shape[0]} {self.shape[1]}; the next are {height} {width}'
            )


def form_of(
    part: str,
    shape: Sequence[int] | None = None,
    batch: int | str | None = None,
    max_detections: int | None = None,
    masks: str = 'full',
) -> Form:
    """The form that options ask for.

    Args:
        part: What is exported, one of ``PARTS``.
        shape: Height and width of images. None means any from 32 pixels. Defaults to None.
        batch: Number of images, or 'dynamic'. None means 1 of a complete model, else 'dynamic'. Defaults to None.
        max_detections: The largest number of objects in an image. None means that of the config. Defaults to None.
        masks: One of ``MASKS``. Defaults to 'full'.

    Returns:
        The form.

    Raises:
        UserError: If the part or an option is wrong, or they do not go together.

    Example:
        >>> form_of('detector', shape=(640, 640)).batch
        1
    """
    if part not in PARTS:
        raise UserError(f'part must be one of {", ".join(PARTS)}, but got {part!r}')
    if shape is not None and (len(shape) != 2 or not all(isinstance(side, int) and side > 0 for side in shape)):
        raise UserError(f'--shape is a height and a width in pixels, but got {shape}')
    if batch is None:
        batch = 1 if part == 'detector' else 'dynamic'
    if batch != 'dynamic' and (not isinstance(batch, int) or batch < 1):
        raise UserError(f'--batch is a number of images from 1, or dynamic, but got {batch!r}')
    if max_detections is not None and max_detections < 1:
        raise UserError(f'--max-detections must be at least 1, but got {max_detections}')
    if masks not in MASKS:
        raise UserError(f'--masks must be one of {", ".join(MASKS)}, but got {masks!r}')
    for option, given in (('--max-detections', max_detections is not None), ('--masks small', masks == 'small')):
        if given and part != 'detector':
            raise UserError(f'{option} is for complete models, and --part {part} gives feature maps: leave one out')
    return Form(shape and tuple(shape), batch, max_detections, masks)
