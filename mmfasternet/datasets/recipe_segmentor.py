"""A config for your own semantic maps, whose sizes, losses and schedule follow from the images and the classes."""

import math
from pathlib import Path

import numpy as np

from mmfasternet.datasets.formats import read_summary
from mmfasternet.files import write_file

from .palette import has_background, make_palette
from .recipe import VALIDATIONS

__all__ = ['write_segmentor']

# Of a light segmentor: its batch, the iterations after which it has learned a few classes from random weights, and the
# limits of the epochs.
_BATCH, _ITERATIONS, _EPOCHS = 4, 1500, (4, 300)
# Pixels of the longer side at most, and of what sides are multiples of: FasterNet's stride.
_LONGEST, _STRIDE = 320, 32
# What a rare class weighs at most.
_HEAVIEST = 4

_CONFIG = """# Semantic FPN with FasterNet-{arch} for {images} images, from random weights; edit it as you like.
_base_ = [
    {model_base!r},
    {backbone_base!r},
    {training_base!r},
]
data_root = {root!r}
metainfo = dict(classes={classes!r}, palette={palette!r})
image_size = {image_size}  # upper limits of the longer and of the shorter side
crop_size = {crop_size}  # height and width of what is trained on
max_iters = {max_iters}  # {epochs} epochs

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='semantic/train.txt',
        data_prefix=dict(img_path={prefix!r}, seg_map_path='semantic/train'),
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='semantic/val.txt',
        data_prefix=dict(img_path={prefix!r}, seg_map_path='semantic/val'),
    )
)
test_dataloader = val_dataloader
_base_.train_dataloader.dataset.pipeline[2].scale = image_size
_base_.train_dataloader.dataset.pipeline[3].crop_size = crop_size
_base_.val_dataloader.dataset.pipeline[1].scale = image_size
_base_.test_dataloader.dataset.pipeline[1].scale = image_size

model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels),
    decode_head=dict(
        num_classes=len(metainfo['classes']),
        loss_decode=[
            # The rarer half of the classes weighs more, by the square root of how rare each is.
            dict(type='CrossEntropyLoss', loss_weight=1.0, class_weight={weights}),
            dict(type='DiceLoss', loss_weight=1.0, ignore_index={ignored}),{background}
        ],
    ),
)
train_cfg = dict(max_iters=max_iters, val_interval={interval})
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end={warm_up}),
    dict(type='CosineAnnealingLR', T_max=max_iters, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval={interval}))
"""


def write_segmentor(
    path: str | Path,
    configs: str | Path,
    data_root: str | Path,
    images: str | Path,
    arch: str = 't0',
    max_epochs: int | None = None,
) -> str:
    """Write the config of a segmentor, which trains from random weights on a CPU within minutes.

    Args:
        path: The file.
        configs: The project's ``configs/``.
        data_root: Folder that holds ``semantic/``, as :func:`~mmfasternet.datasets.formats.convert_maps` writes it.
        images: Folder at which the images' names start.
        arch: Variant of FasterNet. Defaults to 't0'.
        max_epochs: Epochs. None means as many as the number of images asks for. Defaults to None.

    Returns:
        What the config trains.

    Raises:
        UserError: If the data can't be read, or the config can't be written.

    Example:
        >>> from mmfasternet.datasets import make_shapes
        >>> from mmfasternet.datasets.formats import convert_maps
        >>> _ = convert_maps(make_shapes('shapes', num_train=4, num_val=2), 'mine')
        >>> write_segmentor('mine/config.py', 'configs', data_root='mine', images='shapes')
        'a light Semantic FPN'
    """
    facts, bases = read_summary(Path(data_root, 'semantic')), Path(configs).resolve() / '_base_'
    classes, count = tuple(facts['classes']), facts['images']['train']
    image_size, crop_size = _sizes(*facts['sizes'][0][:2])
    per_epoch = math.ceil(count / _BATCH)
    epochs = max_epochs or int(np.clip(round(_ITERATIONS / per_epoch), *_EPOCHS))
    iterations = epochs * per_epoch
    background = has_background(classes)
    text = _CONFIG.format(
        arch=arch.upper(),
        images=count,
        model_base=str(bases / 'light_semantic_fpn.py'),
        backbone_base=str(bases / f'backbones/fasternet_{arch}.py'),
        training_base=str(bases / 'light_training_seg.py'),
        root=f'{Path(data_root).resolve()}/',
        prefix=f'{Path(images).resolve()}/',
        classes=classes,
        palette=make_palette(len(classes), background),
        image_size=image_size,
        crop_size=crop_size,
        max_iters=iterations,
        epochs=epochs,
        weights=_weights(facts['pixels']),
        ignored=0 if background else None,
        background='  # the background' if background else '',
        interval=math.ceil(iterations / VALIDATIONS),
        warm_up=min(50, iterations),
    )
    write_file(path, text.encode())
    return 'a light Semantic FPN'


def _sizes(width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The limits of the sides, and the height and width of a crop, for images of the most common size."""
    factor = min(1, _LONGEST / max(width, height))
    width, height = (max(_STRIDE, round(side * factor)) for side in (width, height))
    crop = tuple(math.ceil(side / _STRIDE) * _STRIDE for side in (height, width))
    return (max(width, height), min(width, height)), crop


def _weights(pixels: list[int]) -> list[float]:
    """The weight of each class: 1 for those as common as the middle one; a class without a pixel has no loss."""
    counts = np.maximum(np.array(pixels, float), 1)
    rarity = np.sqrt(np.median(counts) / counts)
    return [round(float(weight), 2) for weight in rarity.clip(1, _HEAVIEST)]
