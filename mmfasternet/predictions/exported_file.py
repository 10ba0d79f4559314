"""A complete model in an exported file, run by any runtime on images of any sizes."""

import reprlib
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmfasternet.errors import UserError

from .metadata import read_metadata
from .sizing import pad_to, resize_by

__all__ = ['ExportedFile', 'Outputs', 'Value', 'first_line']

# Task → output → its type and its number of dimensions for one image, as tools/export.py writes them.
_OUTPUTS = dict(
    detection=dict(boxes=('tensor(float)', 2), scores=('tensor(float)', 1), labels=('tensor(int64)', 1)),
    segmentation=dict(classes=('tensor(int64)', 2)),
    classification=dict(labels=('tensor(int64)', 1), scores=('tensor(float)', 1)),
)
# Sides that FasterNet has at least; what is smaller has no place on the last feature map.
_SMALLEST = 32


class Outputs(NamedTuple):
    """What a file gives for an image.

    Attributes:
        values: Name → array; see docs/deploy.md.
        height: Of the image as the model saw it, without what pads it.
        width: The same.
    """

    values: dict[str, np.ndarray]
    height: int
    width: int


class Value(NamedTuple):
    """An input or an output.

    Attributes:
        name: Its name.
        type: Its type, as ONNX Runtime calls it.
        shape: Its sides; what is no integer may be any.
    """

    name: str
    type: str
    shape: list


class ExportedFile(ABC):
    """A file that ``tools/export.py`` wrote, open in a runtime.

    Args:
        path: The file.
        texts: Its metadata.
        inputs: What it takes.
        outputs: What it gives.

    Raises:
        UserError: If it is no complete model of ``tools/export.py``.
    """

    def __init__(
        self, path: str | Path, texts: Mapping[str, str], inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> None:
        self.path = path
        try:
            self.metadata = read_metadata(texts)
        except UserError as error:
            raise UserError(f'{path}: {error}') from error
        #: Number of images in a run, and the size of each; None where the file takes any.
        self.batch, self.shape = self._input(inputs)
        #: Names of the outputs that are read.
        self.names = self._outputs({one.name: one for one in outputs})

    @abstractmethod
    def infer(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Run the file on pixels, float32 (N, 3, H, W); gives the outputs of ``names``. It may raise anything."""

    def __call__(self, images: list[np.ndarray]) -> list[Outputs]:
        """Run the model.

        Args:
            images: Blue, green and red of their pixels, uint8 (H, W, 3), of any sizes.

        Returns:
            The outputs for each.

        Raises:
            RuntimeError: If an image is too small, or does not fit into memory.
            UserError: If the file can't be run on it.
        """
        groups, found = defaultdict(list), {}
        for place, image in enumerate(images):
            resized = resize_by(image, self.metadata.resize)
            groups[self.shape or resized.shape[:2]].append((place, resized))
        for (height, width), group in groups.items():
            if min(height, width) < _SMALLEST:
                raise RuntimeError(f'FasterNet takes images of at least {_SMALLEST} × {_SMALLEST} pixels')
            for _, resized in group:
                if resized.shape[0] > height or resized.shape[1] > width:
                    raise UserError(
                        f'{self.path} takes images of {width} × {height} pixels, but its metadata resizes one to '
                        f'{resized.shape[1]} × {resized.shape[0]}'
                    )
            step = self.batch or len(group)
            for start in range(0, len(group), step):
                part = group[start : start + step]
                values = self._run([pad_to(image[:, :, ::-1], height, width, self.metadata.pad) for _, image in part])
                for (place, image), one in zip(part, values, strict=True):
                    found[place] = Outputs(one, *image.shape[:2])
        return [found[place] for place in range(len(images))]

    def _run(self, images: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """The outputs of images of one size; a run of a file for more images repeats the last one."""
        filled = images + images[-1:] * ((self.batch or len(images)) - len(images))
        pixels = np.stack(filled).transpose(0, 3, 1, 2)
        try:
            found = self.infer(np.ascontiguousarray(pixels))
        except Exception as error:  # those of a runtime are of no common class
            if 'allocate memory' in str(error):
                raise RuntimeError(str(error)) from error
            raise UserError(f'{self.path} cannot be run: {first_line(error)}') from error
        values = dict(zip(self.names, found, strict=True))
        if not self._fits(values, len(filled), *pixels.shape[2:]):
            shapes = ', '.join(f'{name} {value.shape}' for name, value in values.items())
            raise UserError(f'{self.path} gives {shapes} for images {pixels.shape}, as no file of tools/export.py does')
        if self.batch == 1:
            return [values]
        if 'images' in values:
            of = values.pop('images')
            return [{name: value[of == number] for name, value in values.items()} for number in range(len(images))]
        return [{name: value[number] for name, value in values.items()} for number in range(len(images))]

    def _fits(self, values: dict[str, np.ndarray], number: int, height: int, width: int) -> bool:
        """Whether the shapes of outputs are those of a number of images of a size."""
        if self.metadata.task == 'segmentation':
            return values['classes'].shape == ((height, width) if self.batch == 1 else (number, height, width))
        if self.metadata.task == 'classification':
            shape = values['labels'].shape
            return values['scores'].shape == shape and (self.batch == 1 or shape[0] == number)
        masks = values.get('masks')
        if masks is not None and masks.dtype == bool and masks.shape[1:] != (height, width):
            return False
        return values['boxes'].shape[1:] == (4,) and len({len(value) for value in values.values()}) == 1

    def _input(self, inputs: list[Value]) -> tuple[int | None, tuple[int, int] | None]:
        shape = inputs[0].shape if len(inputs) == 1 and inputs[0].name == 'image' else []
        if len(shape) != 4 or shape[1] != 3 or inputs[0].type != 'tensor(float)':
            raise UserError(
                f'{self.path} takes {reprlib.repr([tuple(one) for one in inputs])}, and no image of float32 '
                f'(N, 3, H, W); export one by tools/export.py'
            )
        batch, _, height, width = (side if isinstance(side, int) else None for side in shape)
        return batch, (height, width) if height and width else None

    def _outputs(self, outputs: dict[str, Value]) -> list[str]:
        """The names of those that are read."""
        task, expected = self.metadata.task, dict(_OUTPUTS[self.metadata.task])
        # Of several images, objects say which one they are of; other outputs have a dimension for them.
        dense = self.batch != 1 and task != 'detection'
        if self.batch != 1 and task == 'detection':
            expected['images'] = ('tensor(int64)', 1)
        if 'masks' in outputs and task == 'detection':
            small = outputs['masks'].type == 'tensor(float)'
            expected['masks'] = ('tensor(float)' if small else 'tensor(bool)', 3)
        for name, (kind, dimensions) in expected.items():
            one = outputs.get(name)
            if one is None or one.type != kind or len(one.shape) != dimensions + dense:
                raise UserError(
                    f'{self.path} does not give {name}, {kind} of {dimensions + dense} dimensions, as a file for '
                    f'{task} does; export one by tools/export.py'
                )
        return list(expected)


def first_line(error: Exception) -> str:
    """The first line of what a runtime says of an error.

    Args:
        error: The error.

    Returns:
        At most 300 characters; the name of its class if it says nothing.

    Example:
        >>> first_line(RuntimeError('no such operator\\n  at model.cc:12'))
        'no such operator'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
