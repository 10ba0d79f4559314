"""The steps of a config's test pipeline that change an image's size, as mmcv, mmdet, mmseg and mmpretrain do them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmfasternet.errors import UserError

__all__ = ['SIZING', 'pad_to', 'resize_by', 'wrong_step']

# The largest side that a step may ask for.
_LARGEST = 2**14
# Backend → name of an interpolation → its code.
_MODES = dict(
    cv2=dict(
        nearest=cv2.INTER_NEAREST,
        bilinear=cv2.INTER_LINEAR,
        bicubic=cv2.INTER_CUBIC,
        area=cv2.INTER_AREA,
        lanczos=cv2.INTER_LANCZOS4,
    ),
    pillow=dict(
        nearest=Image.Resampling.NEAREST,
        bilinear=Image.Resampling.BILINEAR,
        bicubic=Image.Resampling.BICUBIC,
        box=Image.Resampling.BOX,
        lanczos=Image.Resampling.LANCZOS,
        hamming=Image.Resampling.HAMMING,
    ),
)


def resize_by(image: np.ndarray, steps: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Bring an image to the size that a model takes.

    Args:
        image: Its pixels, uint8 (H, W, 3).
        steps: Each a step's ``type``, one of ``SIZING``, and its arguments.

    Returns:
        The pixels in their new size.

    Raises:
        UserError: If nothing of the image would be left, or it would be too large.

    Example:
        >>> image = np.zeros((480, 640, 3), np.uint8)
        >>> resize_by(image, [dict(type='Resize', scale=[1333, 800], keep_ratio=True)]).shape
        (800, 1067, 3)
    """
    for step in steps:
        arguments = dict(step)
        image = SIZING[arguments.pop('type')](image, **arguments)
    return image


def _resize(
    image: np.ndarray,
    scale: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    keep_ratio: bool = False,
    interpolation: str = 'bilinear',
    backend: str = 'cv2',
) -> np.ndarray:
    height, width = image.shape[:2]
    if scale is None:
        factors = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor, scale_factor)
        scale = [int(side * factor + 0.5) for side, factor in zip((width, height), factors, strict=True)]
    elif isinstance(scale, int):
        scale = (scale, scale)
    if keep_ratio:
        factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
        scale = [int(side * factor + 0.5) for side in (width, height)]
    return _to_size(image, scale, interpolation, backend)


def _resize_edge(
    image: np.ndarray, scale: int, edge: str = 'short', backend: str = 'cv2', interpolation: str = 'bilinear'
) -> np.ndarray:
    height, width = image.shape[:2]
    if edge == 'width' or (edge == 'short' and width < height) or (edge == 'long' and width > height):
        size = scale, int(scale * height / width)
    else:
        size = int(scale * width / height), scale
    return _to_size(image, size, interpolation, backend)


def _resize_to_multiple(image: np.ndarray, size_divisor: int = 32, interpolation: str = 'bilinear') -> np.ndarray:
    size = [-(-side // size_divisor) * size_divisor for side in image.shape[1::-1]]
    return _to_size(image, size, interpolation, 'cv2')


def _center_crop(image: np.ndarray, crop_size: int | Sequence[int]) -> np.ndarray:
    width, height = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
    top, left = (max(0, round((side - of) / 2)) for side, of in zip(image.shape, (height, width), strict=False))
    return image[top : top + height, left : left + width]


def _fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """As large as fits into a fixed size; unlike Resize's scale, width and height are never exchanged."""
    factor = min(width / image.shape[1], height / image.shape[0])
    size = [max(1, int(side * factor + 0.5)) for side in image.shape[1::-1]]
    return _to_size(image, size, 'bilinear', 'cv2')


def _to_size(image: np.ndarray, size: Sequence[int], interpolation: str, backend: str) -> np.ndarray:
    width, height = size
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        raise UserError(
            f'an image of {image.shape[1]} × {image.shape[0]} pixels would be resized to {width} × {height}; '
            f'sides are from 1 to {_LARGEST} pixels'
        )
    mode = _MODES[backend][interpolation]
    if backend == 'pillow':
        return np.asarray(Image.fromarray(image).resize((width, height), mode))
    try:
        return cv2.resize(image, (width, height), interpolation=mode)
    except cv2.error as error:
        raise MemoryError(str(error)) from error


#: Type of a step → what it does.
SIZING: dict[str, Callable[..., np.ndarray]] = dict(
    Resize=_resize, ResizeEdge=_resize_edge, ResizeToMultiple=_resize_to_multiple, CenterCrop=_center_crop, Fit=_fit
)


def _side(value: Any) -> bool:
    return type(value) is int and 0 < value <= _LARGEST


def _factor(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= _LARGEST


def _pair_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a value passes, or is a pair of two that do."""
    return lambda value: (
        check(value) or (isinstance(value, (list, tuple)) and len(value) == 2 and all(map(check, value)))
    )


def _one_of(*values: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in values


_LOOK = dict(interpolation=_one_of(*_MODES['cv2'], *_MODES['pillow']), backend=_one_of(*_MODES))
# Step → argument → whether a value is one.
_ARGUMENTS: dict[str, dict[str, Callable[[Any], bool]]] = dict(
    Resize=dict(
        _LOOK, scale=_pair_of(_side), scale_factor=_pair_of(_factor), keep_ratio=lambda value: isinstance(value, bool)
    ),
    ResizeEdge=dict(_LOOK, scale=_side, edge=_one_of('short', 'long', 'width', 'height')),
    ResizeToMultiple=dict(size_divisor=_side, interpolation=_LOOK['interpolation']),
    CenterCrop=dict(crop_size=_pair_of(_side)),
    Fit=dict(width=_side, height=_side),
)
# Arguments without which a step can't be done, of Resize either of them.
_NEEDED = dict(
    Resize=('scale', 'scale_factor'), ResizeEdge=('scale',), CenterCrop=('crop_size',), Fit=('width', 'height')
)


def wrong_step(step: Any) -> str | None:
    """What is wrong with a step.

    Args:
        step: What should be a step's ``type`` and arguments, of any kind.

    Returns:
        The fault in words, or None if :func:`resize_by` takes the step.

    Example:
        >>> wrong_step(dict(type='CenterCrop', crop_size=224))
        >>> wrong_step(dict(type='CenterCrop', crop_size='a'))
        "crop_size='a' of CenterCrop"
        >>> wrong_step(dict(type='RandomCrop'))
        "the step 'RandomCrop', not one of Resize, ResizeEdge, ResizeToMultiple, CenterCrop, Fit"
    """
    kind = step.get('type') if isinstance(step, Mapping) else None
    if not isinstance(kind, str) or kind not in SIZING:
        return f'the step {str(kind or step)[:40]!r}, not one of {", ".join(SIZING)}'
    checks, given = _ARGUMENTS[kind], {name: value for name, value in step.items() if name != 'type'}
    for name, value in given.items():
        if name not in checks or not checks[name](value):
            return f'{str(name)[:40]}={str(value)[:40]!r} of {kind}'
    needed = [name for name in _NEEDED.get(kind, ()) if name not in given]
    if needed and (kind != 'Resize' or len(needed) == 2):
        return f'{kind} without {" or ".join(needed)}'
    if given.get('interpolation', 'bilinear') not in _MODES[given.get('backend', 'cv2')]:
        return f'interpolation={given["interpolation"]!r} of the backend {given.get("backend", "cv2")}'
    return None


def pad_to(image: np.ndarray, height: int, width: int, colour: Sequence[float]) -> np.ndarray:
    """Pad an image on the right and below.

    Args:
        image: Its pixels (H, W, 3).
        height: The height that is wanted.
        width: The width that is wanted.
        colour: Of what is added, a value for each channel.

    Returns:
        float32 (height, width, 3).

    Example:
        >>> pad_to(np.zeros((2, 3, 3), np.uint8), 2, 4, (1, 2, 3))[0, 3].tolist()
        [1.0, 2.0, 3.0]
    """
    padded = np.empty((height, width, 3), np.float32)
    padded[:] = colour
    padded[: image.shape[0], : image.shape[1]] = image
    return padded
