"""A config for your own folders of classes, whose input size and schedule follow from the images."""

import math
from pathlib import Path

import numpy as np

from mmfasternet.datasets.formats import read_summary
from mmfasternet.files import write_file

from .recipe import VALIDATIONS

__all__ = ['write_classifier']

# Images that a light classifier of 64² pixels sees, after which it has learned a few classes from random weights; at
# another size as many less as its side is longer. Limits of the epochs.
_SEEN, _EPOCHS = 40_000, (5, 200)
# Limits of the side in pixels, and of what it is a multiple: FasterNet's stride.
_SIDES, _STRIDE = (64, 128), 32

_CONFIG = """# A classifier, FasterNet-{arch}, for {images} images, from random weights; edit it as you like.
_base_ = [
    {model_base!r},
    {backbone_base!r},
]
data_root = {root!r}
classes = {classes!r}
side = {side}  # pixels
max_epochs = {max_epochs}  # of {iterations} iterations

train_dataloader = dict(
    batch_size={batch},
    dataset=dict(data_root=data_root, classes=classes, ann_file='labels/train.txt', data_prefix={prefix!r}),
)
val_dataloader = dict(
    dataset=dict(data_root=data_root, classes=classes, ann_file='labels/val.txt', data_prefix={prefix!r})
)
test_dataloader = val_dataloader
_base_.train_dataloader.dataset.pipeline[1].scale = side
_base_.val_dataloader.dataset.pipeline[1].scale = (side, side)
_base_.test_dataloader.dataset.pipeline[1].scale = (side, side)

model = dict(
    backbone=dict(
        _base_.backbone, out_indices=(3,), out_norm=False, init_cfg=dict(type='Kaiming', layer='Conv2d')
    ),
    head=dict(num_classes=len(classes), in_channels=_base_.channels[-1]),
)
train_cfg = dict(max_epochs=max_epochs, val_interval={interval})
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(save_best='accuracy/top1', rule='greater'))
"""


def write_classifier(
    path: str | Path,
    configs: str | Path,
    data_root: str | Path,
    images: str | Path,
    arch: str = 't0',
    max_epochs: int | None = None,
) -> str:
    """Write the config of a classifier, which trains from random weights on a CPU within minutes.

    Args:
        path: The file.
        configs: The project's ``configs/``.
        data_root: Folder that holds ``labels/``, as :func:`~mmfasternet.datasets.formats.convert_classes` writes it.
        images: Folder at which the images' names start.
        arch: Variant of FasterNet. Defaults to 't0'.
        max_epochs: Epochs. None means as many as the number of images asks for. Defaults to None.

    Returns:
        What the config trains.

    Raises:
        UserError: If the data can't be read, or the config can't be written.

    Example:
        >>> from mmfasternet.datasets import make_crops, make_shapes
        >>> from mmfasternet.datasets.formats import convert_classes
        >>> _ = convert_classes(make_crops(make_shapes('shapes', num_train=9, num_val=9), 'crops'), 'mine')
        >>> write_classifier('mine/config.py', 'configs', data_root='mine', images='crops')
        'a light classifier'
    """
    facts, bases = read_summary(Path(data_root, 'labels')), Path(configs).resolve() / '_base_'
    count, side = facts['images']['train'], _side(facts['sizes'])
    batch = 32 if count < 1000 else 64
    epochs = max_epochs or int(np.clip(round(_SEEN * _SIDES[0] / side / count), *_EPOCHS))
    text = _CONFIG.format(
        arch=arch.upper(),
        images=count,
        model_base=str(bases / 'light_classifier.py'),
        backbone_base=str(bases / f'backbones/fasternet_{arch}.py'),
        root=f'{Path(data_root).resolve()}/',
        prefix=f'{Path(images).resolve()}/',
        classes=tuple(facts['classes']),
        side=side,
        batch=batch,
        max_epochs=epochs,
        iterations=math.ceil(count / batch),
        interval=math.ceil(epochs / VALIDATIONS),
    )
    write_file(path, text.encode())
    return 'a light classifier'


def _side(sizes: list[list[int]]) -> int:
    """The side that the shorter one of half of the images reaches, within limits."""
    shorter = np.repeat([min(width, height) for width, height, _ in sizes], [count for *_, count in sizes])
    return int(np.clip(math.ceil(np.median(shorter) / _STRIDE) * _STRIDE, *_SIDES))
