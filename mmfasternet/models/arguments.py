"""Checks of arguments: each mistake is one TypeError or ValueError that names the argument."""

import math
from collections.abc import Sequence
from numbers import Integral, Real

from torch import Tensor

__all__ = [
    'as_integer',
    'check_choice',
    'check_config',
    'check_image',
    'check_init_cfg',
    'check_number',
    'resolve_out_indices',
]


def as_integer(name: str, value: int, lowest: int, highest: int | None = None) -> int:
    """Return an integer of any kind, such as numpy's, as Python's int.

    Args:
        name: Name of the argument, for errors.
        value: What the user gave.
        lowest: Smallest value allowed.
        highest: Largest value allowed. None means any. Defaults to None.

    Returns:
        The integer.

    Raises:
        TypeError: If the value is not an integer.
        ValueError: If it is out of bounds.

    Example:
        >>> as_integer('channels', 40, 1)
        40
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f'{name} must be an int, but got {value!r}')
    if value < lowest or (highest is not None and value > highest):
        bounds = f'at least {lowest}' if highest is None else f'from {lowest} to {highest}'
        raise ValueError(f'{name} must be {bounds}, but got {value}')
    return int(value)


def check_number(name: str, value: float, lowest: float | None = None, below: float | None = None) -> None:
    """Check that a value is a finite number within bounds.

    Args:
        name: Name of the argument, for errors.
        value: What the user gave.
        lowest: Smallest value allowed. None means any. Defaults to None.
        below: Bound that the value must stay below. None means none. Defaults to None.

    Raises:
        TypeError: If the value is not a real number.
        ValueError: If it is not finite, or out of bounds.

    Example:
        >>> check_number('drop_path_rate', 0.1, lowest=0, below=1)
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f'{name} must be a number, but got {value!r}')
    if not math.isfinite(value):
        raise ValueError(f'{name} must be finite, but got {value}')
    if lowest is not None and value < lowest:
        raise ValueError(f'{name} must be at least {lowest}, but got {value}')
    if below is not None and value >= below:
        raise ValueError(f'{name} must be below {below}, but got {value}')


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Check that a value is one of a few.

    Args:
        name: Name of the argument, for errors.
        value: What the user gave.
        choices: The values allowed.

    Raises:
        ValueError: If it is none of them.

    Example:
        >>> check_choice('with_cp', 'elementwise', (False, True, 'elementwise'))
    """
    if value not in choices:
        raise ValueError(f'{name} must be one of {", ".join(map(repr, choices))}, but got {value!r}')


def check_config(name: str, value: dict) -> None:
    """Check that a value is the config of a layer.

    Args:
        name: Name of the argument, for errors.
        value: What the user gave.

    Raises:
        TypeError: If it is not a dict.

    Example:
        >>> check_config('act_cfg', dict(type='ReLU'))
    """
    if not isinstance(value, dict):
        raise TypeError(f'{name} must be a dict such as dict(type=...), but got {value!r}')


def check_init_cfg(init_cfg: dict | list[dict]) -> None:
    """Check that a value can be an ``init_cfg``.

    Args:
        init_cfg: What the user gave.

    Raises:
        TypeError: If it is neither a dict nor a list of dicts.

    Example:
        >>> check_init_cfg(dict(type='Pretrained', checkpoint='fasternet_s.pth'))
    """
    configs = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
    if not isinstance(configs, (list, tuple)) or not all(isinstance(cfg, dict) for cfg in configs):
        raise TypeError(
            "init_cfg must be a dict such as dict(type='Pretrained', checkpoint=...), or a list of dicts, "
            f'but got {init_cfg!r}'
        )


def resolve_out_indices(out_indices: Sequence[int]) -> tuple[int, ...]:
    """Check the chosen stages and sort them.

    Args:
        out_indices: What the user gave, stages from 0 to 3.

    Returns:
        The stages in ascending order.

    Raises:
        TypeError: If it is not a sequence of integers.
        ValueError: If it is empty, or names a stage twice or one that does not exist.

    Example:
        >>> resolve_out_indices([3, 1])
        (1, 3)
    """
    if isinstance(out_indices, str) or not isinstance(out_indices, Sequence):
        raise TypeError(f'out_indices must be a sequence of stages from 0 to 3, but got {out_indices!r}')
    stages = sorted({as_integer('each of out_indices', index, 0, 3) for index in out_indices})
    if not stages or len(stages) < len(out_indices):
        raise ValueError(f'out_indices must name at least one stage and none twice, but got {tuple(out_indices)}')
    return tuple(stages)


def check_image(x: Tensor, in_channels: int) -> None:
    """Check that a FasterNet can take a batch of images.

    Args:
        x: What the user gave, which should be of shape (N, in_channels, H, W).
        in_channels: Channels that the network was made for.

    Raises:
        TypeError: If it is not a floating-point tensor.
        ValueError: If its shape is another, or it has fewer than 32 × 32 pixels.

    Example:
        >>> import torch
        >>> check_image(torch.rand(1, 3, 224, 224), in_channels=3)
    """
    if not isinstance(x, Tensor):
        raise TypeError(f'FasterNet takes a tensor of images, but got {type(x).__name__}')
    if x.dim() != 4:
        raise ValueError(f'FasterNet takes images of shape (N, {in_channels}, H, W), but got shape {tuple(x.shape)}')
    if not x.is_floating_point():
        raise TypeError(f'FasterNet takes images of a floating-point type, but got {x.dtype}')
    if x.shape[1] != in_channels:
        raise ValueError(
            f'FasterNet was made for images of {in_channels} channels, but got {x.shape[1]}; '
            f'set in_channels={x.shape[1]}'
        )
    if x.shape[2] < 32 or x.shape[3] < 32:
        raise ValueError(
            f'FasterNet takes images of at least 32 × 32 pixels, but got height {x.shape[2]} and width {x.shape[3]}'
        )
