"""What a config does to an image before the model: which of it a graph does, and what is left to its user."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS
from torch import nn

from mmfasternet.datasets import find_images, read_image
from mmfasternet.deploy.heads import padding_colour, takes_rgb
from mmfasternet.engine.config import dataset_tested_on
from mmfasternet.predictions.sizing import pad_to, resize_by

__all__ = ['calibration_images', 'input_meaning', 'padding']

# Steps of a test pipeline that change the size of an image before the model sees it.
_SIZING = ('Resize', 'ResizeToMultiple', 'ResizeEdge', 'CenterCrop')
# Number of images that int8 is calibrated on.
_CALIBRATION = 32
# What divides the sides of FasterNet's images in necks that need it.
_LARGEST_STRIDE = 32


def padding(cfg: Config) -> dict | None:
    """What the test pipeline of a config pads images to.

    Args:
        cfg: The config.

    Returns:
        Arguments of mmdet's ``Pad``, ``size_divisor`` and ``pad_val``; a size that is the same for all images becomes
        the next that fits. None if it does not pad.

    Example:
        >>> from mmfasternet.engine.config import load_config
        >>> padding(load_config('configs/detection/rtmdet_fasternet_s.py'))
        {'size_divisor': 32, 'pad_val': {'img': (114, 114, 114)}}
    """
    for step in _pipeline(cfg):
        if step.type == 'Pad':
            value = step.get('pad_val', 0)
            value = value.get('img', 0) if isinstance(value, dict) else value
            return dict(
                size_divisor=step.get('size_divisor') or _LARGEST_STRIDE,
                pad_val=dict(img=tuple(value) if isinstance(value, Sequence) else (value,) * 3),
            )
    return None


def _pipeline(cfg: Config) -> list[dict]:
    """The steps that images go through before the model."""
    return dataset_tested_on(cfg).get('pipeline') or []


def input_meaning(
    cfg: Config, model: nn.Module, part: str, task: str | None = None, shape: Sequence[int] | None = None
) -> dict[str, Any]:
    """What a user does to an image before the graph.

    Args:
        cfg: The config.
        model: Its model.
        part: Of the model, 'backbone', 'neck' or 'detector'.
        task: Of a complete model. Defaults to None.
        shape: Height and width, where they are fixed. Defaults to None.

    Returns:
        ``colors``, ``range``, ``mean``, ``std``, ``resize`` (steps) and ``pad`` (a colour), see docs/deploy.md.

    Example:
        >>> from mmfasternet.engine.build import build_model
        >>> meaning = input_meaning(*build_model('configs/mask_rcnn_fasternet_t0.py'), 'detector', 'detection')
        >>> meaning['resize'], [round(value) for value in meaning['pad']]
        ([{'type': 'Resize', 'scale': (1333, 800), 'keep_ratio': True}], [124, 116, 104])
    """
    preprocessor = model.data_preprocessor
    mean, std = (
        getattr(preprocessor, name).flatten().tolist() if preprocessor._enable_normalize else None
        for name in ('mean', 'std')
    )
    is_rgb = takes_rgb(preprocessor)
    meaning = dict(colors='RGB', range=[0, 255], mean=None, std=None, resize=_resizing(cfg, task, shape))
    if part != 'detector':
        return dict(meaning, colors='RGB' if is_rgb else 'BGR', mean=mean, std=std)
    pad = padding(cfg)
    return dict(meaning, pad=list(pad['pad_val']['img'])[::-1] if pad else padding_colour(preprocessor))


def _resizing(cfg: Config, task: str | None, shape: Sequence[int] | None) -> list[dict]:
    """The steps that bring an image to its size, or into a fixed one."""
    steps = [dict(step) for step in _pipeline(cfg) if step.type in _SIZING]
    if shape is None or _always_of(steps, shape):
        return steps
    height, width = shape
    # What is padded is part of what a classifier sees; others leave it out.
    if task == 'classification':
        return [dict(type='Resize', scale=[width, height])]
    return [dict(type='Fit', width=width, height=height)]


def _always_of(steps: list[dict], shape: Sequence[int]) -> bool:
    """Whether images of any size get this shape."""
    try:
        shapes = {resize_by(np.zeros((*size, 3), np.uint8), steps).shape[:2] for size in ((97, 211), (640, 331))}
    except (KeyError, TypeError):
        return False
    return shapes == {tuple(shape)}


def calibration_images(
    cfg: Config, model: nn.Module, part: str, source: str | Path, shape: Sequence[int] | None, batch: int
) -> list[np.ndarray]:
    """The inputs of the graph for the first images of a folder.

    Args:
        cfg: The config, whose test pipeline resizes them.
        model: Its model.
        part: Of the model.
        source: An image, or a folder of images; the first 32 are read.
        shape: Height and width, where they are fixed.
        batch: Number of images in an input; each is repeated.

    Returns:
        float32 arrays (batch, 3, H, W).

    Raises:
        UserError: If an image can't be read.
    """
    return [np.repeat(image, batch, axis=0) for image in _inputs(cfg, model, part, source, shape)]


def _inputs(
    cfg: Config, model: nn.Module, part: str, source: str | Path, shape: Sequence[int] | None
) -> Iterator[np.ndarray]:
    steps = [step for step in _pipeline(cfg) if step.type in ('LoadImageFromFile', *_SIZING)]
    with TRANSFORMS.switch_scope_and_registry(cfg.get('default_scope')):
        pipeline = Compose(steps)
    for path in find_images(source)[:_CALIBRATION]:
        pixels = read_image(path)  # an unreadable one is one message
        if shape is None:
            pixels = pipeline(dict(img_path=str(path)))['img']
        else:
            meaning = input_meaning(cfg, model, 'detector', shape=shape)
            pixels = pad_to(resize_by(pixels, meaning['resize']), *shape, meaning['pad'][::-1])
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
        if part == 'detector':
            # mmdet's pipelines load blue, green, red.
            yield image.flip(0)[None].float().numpy()
        else:
            yield model.data_preprocessor(dict(inputs=[image]), training=False)['inputs'].numpy()
