"""The config of a training on your own data, as text."""

import re
from pathlib import Path

import numpy as np
import yaml

from mmfasternet.errors import UserError
from mmfasternet.files import write_file

from .palette import make_palette
from .recipe import DETECTORS, Recipe

__all__ = ['write_config']

_HEAD = """# {title}; edit it as you like.
_base_ = [
{bases}
]
data_root = {root!r}
metainfo = dict(classes={classes!r}, palette={palette!r})
image_size = {image_size}  # upper limits of the longer and of the shorter side
max_epochs = {max_epochs}  # of {iterations} iterations
num_classes = len(metainfo['classes'])
max_per_img = {max_per_img}  # objects that are found in an image, at most

train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img={images!r}),
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img={images!r}),
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json', metric={metric})
test_evaluator = dict(val_evaluator, outfile_prefix=data_root + 'predictions')
{pipelines}
"""
_LIGHT = """
train_cfg = dict(max_epochs=max_epochs, val_interval={interval})
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end={warm_up}),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
model = dict(
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels={channels}),
{heads}
)
"""
_FINE_TUNED = """
load_from = {weights!r}
train_cfg = dict(max_epochs=max_epochs, val_interval={interval})
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, end={warm_up}),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=True)  # the learning rate is for 16 images, and follows from the batch
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1, save_best='auto'))
model = dict(
{heads}
)
"""
_HEADS = dict(
    mask_rcnn="""\
    rpn_head=dict(anchor_generator=dict(scales={scales}, ratios={ratios})),
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
    test_cfg=dict(rpn=dict(max_per_img=2 * max_per_img), rcnn=dict(max_per_img=max_per_img)),""",
    faster_rcnn="""\
    rpn_head=dict(anchor_generator=dict(scales={scales}, ratios={ratios})),
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_roi_extractor=None, mask_head=None),
    test_cfg=dict(rpn=dict(max_per_img=2 * max_per_img), rcnn=dict(max_per_img=max_per_img)),""",
    retinanet="""\
    bbox_head=dict(
        num_classes=num_classes,
        anchor_generator=dict(octave_base_scale={scale}, ratios={ratios}),
    ),
    test_cfg=dict(max_per_img=max_per_img),""",
)
# Trained weights fit their own anchors.
_TRAINED_HEADS = dict(
    mask_rcnn="""\
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
    test_cfg=dict(rcnn=dict(max_per_img=max_per_img)),""",
    faster_rcnn="""\
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_roi_extractor=None, mask_head=None),
    test_cfg=dict(rcnn=dict(max_per_img=max_per_img)),""",
)


def write_config(
    path: str | Path,
    recipe: Recipe,
    configs: str | Path,
    data_root: str | Path,
    images: str | Path,
    arch: str = 't0',
) -> Path:
    """Write the config of a training.

    Args:
        path: The file.
        recipe: What :func:`plan_training` gave.
        configs: The project's ``configs/``.
        data_root: Folder that holds ``annotations/instances_train.json`` and ``…_val.json``.
        images: Folder at which the files' names start.
        arch: Variant of FasterNet. Defaults to 't0'.

    Returns:
        The path.

    Raises:
        UserError: If it can't be written, or no weights of this variant are released.

    Example:
        >>> recipe = Recipe('retinanet', 'scratch', ('cat', 'dog'), (320, 240), (20.0, 80.0), (1.0,), 50, max_epochs=9)
        >>> path = write_config('mine/config.py', recipe, 'configs', data_root='mine', images='images')
        >>> from mmengine.config import Config
        >>> Config.fromfile(path).model.bbox_head.num_classes
        2
    """
    return write_file(path, _config_text(recipe, Path(configs).resolve(), data_root, images, arch).encode())


def _config_text(recipe: Recipe, configs: Path, data_root: str | Path, images: str | Path, arch: str) -> str:
    label, with_masks = DETECTORS[recipe.detector]
    start = 'random weights' if recipe.start == 'scratch' else "the authors' weights"
    # RetinaNet's smallest level has a stride of 8 pixels, the others' one of 4.
    small, large = recipe.sizes
    smallest = round(float(np.clip(small / 4, 3, 8)))
    shared = dict(
        title=f'{label} with FasterNet-{arch.upper()} for {recipe.num_images} images, from {start}',
        bases='\n'.join(f'    {str(configs / base)!r},' for base in _bases(recipe, arch)),
        root=f'{Path(data_root).resolve()}/',
        classes=recipe.classes,
        palette=make_palette(len(recipe.classes)),
        image_size=recipe.image_size,
        max_epochs=recipe.max_epochs,
        iterations=recipe.epoch_length,
        max_per_img=recipe.max_per_img,
        images=f'{Path(images).resolve()}/',
        metric=['bbox', 'segm'] if with_masks else ['bbox'],
        pipelines=_pipelines(recipe.start, with_masks),
    )
    schedule = dict(interval=recipe.val_interval, warm_up=min(100, 1 + recipe.max_epochs * recipe.epoch_length // 10))
    if recipe.start == 'released':
        weights = _released_weights(configs, arch)
        heads = _TRAINED_HEADS[recipe.detector]
        return _HEAD.format(**shared) + _FINE_TUNED.format(weights=weights, heads=heads, **schedule)
    heads = _HEADS[recipe.detector].format(
        ratios=list(recipe.ratios),
        scale=round(float(np.clip(small / 8, 2, 4)), 1),
        # Levels of stride 4 to 32 reach from one size to eight times as much.
        scales=[smallest] if large <= 48 * smallest else [smallest, 2 * smallest],
    )
    channels = '_base_.channels[1:]' if recipe.detector == 'retinanet' else '_base_.channels'
    return _HEAD.format(**shared) + _LIGHT.format(channels=channels, heads=heads, **schedule)


def _bases(recipe: Recipe, arch: str) -> list[str]:
    """The configs to inherit, in ``configs/``."""
    if recipe.start == 'released':
        return [f'mask_rcnn_fasternet_{arch}.py']
    model = 'retinanet' if recipe.detector == 'retinanet' else 'mask_rcnn'
    return [f'_base_/{base}.py' for base in (f'light_{model}', f'backbones/fasternet_{arch}', 'light_training')]


def _pipelines(start: str, with_masks: bool) -> str:
    """What the data pipelines of the bases are to do otherwise; each has its own."""
    annotations = dict(train=1, val=1, test=1) if start == 'scratch' else dict(train=1, val=2, test=2)
    lines = []
    for split, load in annotations.items():
        pipeline = f'_base_.{split}_dataloader.dataset.pipeline'
        lines.append(f'{pipeline}[{load}].with_mask = {with_masks}')
        lines.append(f'{pipeline}[{1 if load == 2 else 2}].scale = image_size')
    return '\n'.join(lines)


def _released_weights(configs: Path, arch: str) -> str:
    """URL of the authors' Mask R-CNN."""
    models = yaml.safe_load((configs / 'metafile.yml').read_text())['Models']
    released = {model['Name']: model['Weights'] for model in models if 'Weights' in model}
    name = f'mask_rcnn_fasternet_{arch}'
    if name not in released:
        others = [
            other.rpartition('_')[2] for other in released if re.fullmatch('mask_rcnn_fasternet_[a-z0-9]+', other)
        ]
        raise UserError(
            f'the authors have released no Mask R-CNN with FasterNet-{arch.upper()}: take --arch {", ".join(others)}, '
            'or random weights (--from scratch)'
        )
    return released[name]
