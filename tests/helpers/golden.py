"""The authors' outputs on weights that are a function of each entry's key and shape alone."""

import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DATA = Path(__file__).resolve().parents[1] / 'data'
GOLDEN_ARCHS = ('t0', 's')


def golden_shapes(arch: str, kind: str) -> dict[str, list[int]]:
    """Key → shape of the authors' model, ``kind`` detection or classification."""
    return json.loads((DATA / f'fasternet_{arch}_keys.json').read_text())[kind]


def golden_state_dict(arch: str, kind: str = 'detection') -> dict[str, Tensor]:
    """The state dict that the golden outputs were computed with."""
    return dict(_cached_state_dict(arch, kind))


@cache
def _cached_state_dict(arch: str, kind: str) -> dict[str, Tensor]:
    return make_state_dict(golden_shapes(arch, kind))


def make_state_dict(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Fill any keys and shapes by the golden rule."""
    return {key: _make_entry(key, shape) for key, shape in shapes.items()}


def _make_entry(key: str, shape: list[int]) -> Tensor:
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    if key.endswith('num_batches_tracked'):
        return torch.tensor(1)
    if key.endswith('running_var') or (len(shape) == 1 and key.endswith('weight')):
        value = random.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        value = random.uniform(-0.2, 0.2, shape)
    else:
        value = random.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
    return torch.from_numpy(value.astype(np.float32))


def golden_image(height: int = 64, width: int = 96) -> Tensor:
    random = np.random.RandomState(height * 10000 + width)
    return torch.from_numpy(random.standard_normal((1, 3, height, width)).astype(np.float32))


def golden_outputs(arch: str) -> dict[str, np.ndarray]:
    return dict(np.load(DATA / f'fasternet_{arch}_64x96.npz'))
