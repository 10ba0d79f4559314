"""A config for your own data, whose detector, image size, anchors and schedule follow from the objects."""

import colorsys
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmfasternet.errors import UserError
from mmfasternet.files import write_file

from .annotations import read_annotations

__all__ = ['DETECTORS', 'Recipe', 'plan_training', 'write_config']

#: Detector → what it is called, and whether it needs masks.
DETECTORS = dict(mask_rcnn=('Mask R-CNN', True), retinanet=('RetinaNet', False))

# Of a light detector: its batch, and the iterations after which it has learned a few classes from random weights.
_BATCH, _ITERATIONS = 4, 2000
# Pixels of the smaller objects in the resized images, and the limits of the longer side.
_SMALL, _SIDES = 16, (256, 512)


_CONFIG = """# {title}; edit it as you like.
_base_ = [
    {model_base!r},
    {backbone_base!r},
    {training_base!r},
]
data_root = {root!r}
metainfo = dict(classes={classes!r}, palette={palette!r})
image_size = {image_size}  # upper limits of the longer and of the shorter side
max_epochs = {max_epochs}  # of {iterations} iterations

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
test_evaluator = val_evaluator
_base_.train_dataloader.dataset.pipeline[1].with_mask = {with_masks}
_base_.train_dataloader.dataset.pipeline[2].scale = image_size
_base_.val_dataloader.dataset.pipeline[1].with_mask = {with_masks}
_base_.val_dataloader.dataset.pipeline[2].scale = image_size
"""
_MASK_RCNN = """
num_classes = len(metainfo['classes'])
model = dict(
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels),
    rpn_head=dict(anchor_generator=dict(scales={scales}, ratios={ratios})),
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
)
"""
_RETINANET = """
model = dict(
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels[1:]),
    bbox_head=dict(
        num_classes=len(metainfo['classes']),
        anchor_generator=dict(octave_base_scale={scale}, ratios={ratios}),
    ),
)
"""
_SCHEDULE = """
train_cfg = dict(max_epochs=max_epochs, val_interval={interval})
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
"""


@dataclass(frozen=True)
class Recipe:
    """What a config for your own data sets.

    Args:
        detector: One of ``DETECTORS``.
        classes: Names, in the order of the categories.
        image_size: Upper limits of an image's longer and shorter side, pixels.
        sizes: Square roots of the boxes' areas in the resized images, 5th and 95th percentile, pixels.
        ratios: Heights of the anchors, divided by their widths.
        num_images: Images to train on that have objects.
        max_epochs: Epochs.
    """

    detector: str
    classes: tuple[str, ...]
    image_size: tuple[int, int]
    sizes: tuple[float, float]
    ratios: tuple[float, ...]
    num_images: int
    max_epochs: int


def plan_training(path: str | Path, detector: str = 'auto') -> Recipe:
    """Plan a training from random weights on a CPU, which takes minutes.

    Args:
        path: COCO JSON of the images to train on, which has passed the check.
        detector: One of ``DETECTORS``. 'auto' means Mask R-CNN if all objects have masks, and else RetinaNet. Defaults
            to 'auto'.

    Returns:
        The plan.

    Raises:
        UserError: If there is no object, or the detector needs masks that are not there.

    Example:
        >>> from mmfasternet.datasets import make_shapes
        >>> root = make_shapes('shapes', num_train=4, num_val=2, size=(192, 256))
        >>> recipe = plan_training(root / 'annotations/instances_train.json')
        >>> recipe.detector, recipe.image_size, recipe.max_epochs
        ('mask_rcnn', (256, 192), 300)
    """
    content = read_annotations(path)
    objects = [annotation for annotation in content['annotations'] if not annotation.get('iscrowd')]
    if not objects:
        raise UserError(f'{path} has no object to learn from')
    with_masks = all(annotation.get('segmentation') for annotation in objects)
    if detector == 'auto':
        detector = 'mask_rcnn' if with_masks else 'retinanet'
    if DETECTORS[detector][1] and not with_masks:
        raise UserError(f'{path} has objects without a mask, which {DETECTORS[detector][0]} needs; take retinanet')
    images = {image['id']: (image['width'], image['height']) for image in content['images']}
    shapes = np.array([images[annotation['image_id']] for annotation in objects], float)
    boxes = np.array([annotation['bbox'][2:] for annotation in objects], float)
    kinds = np.array([annotation['category_id'] for annotation in objects])
    # As parts of the longer side, since all images are resized to the same one.
    parts = np.sqrt(boxes.prod(1)) / shapes.max(1)
    lowest = min(np.percentile(parts[kinds == kind], 25) for kind in np.unique(kinds))
    longer = int(np.clip(math.ceil(_SMALL / max(lowest, 1e-6) / 32) * 32, *_SIDES))
    width, height = Counter(images.values()).most_common(1)[0][0]
    longer = min(longer, max(width, height, 32))
    shorter = max(32, round(longer * min(width, height) / max(width, height)))
    ratios = boxes[:, 1] / np.maximum(boxes[:, 0], 1e-6)
    low, high = np.percentile(ratios, [10, 90])
    used = len({annotation['image_id'] for annotation in objects})
    return Recipe(
        detector=detector,
        classes=tuple(category['name'] for category in content['categories']),
        image_size=(longer, shorter),
        sizes=tuple(float(np.percentile(parts, percent) * longer) for percent in (5, 95)),
        ratios=(1.0,) if low > 0.6 and high < 1.6 else (0.5, 1.0, 2.0),
        num_images=used,
        max_epochs=min(300, max(4, round(_ITERATIONS / math.ceil(used / _BATCH)))),
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
        UserError: If it can't be written.

    Example:
        >>> recipe = Recipe('retinanet', ('cat', 'dog'), (320, 240), (20.0, 80.0), (1.0,), num_images=50, max_epochs=9)
        >>> path = write_config('mine/config.py', recipe, 'configs', data_root='mine', images='images')
        >>> from mmengine.config import Config
        >>> Config.fromfile(path).model.bbox_head.num_classes
        2
    """
    label, with_masks = DETECTORS[recipe.detector]
    bases = Path(configs).resolve() / '_base_'
    small, large = recipe.sizes
    # RetinaNet's smallest level has a stride of 8 pixels, Mask R-CNN's one of 4.
    scale = round(float(np.clip(small / 8, 2, 4)), 1)
    smallest = round(float(np.clip(small / 4, 3, 8)))
    # Levels of stride 4 to 32 reach from one size to eight times as much.
    scales = [smallest] if large <= 48 * smallest else [smallest, 2 * smallest]
    text = (_CONFIG + (_MASK_RCNN if with_masks else _RETINANET) + _SCHEDULE).format(
        title=f'{label} with FasterNet-{arch.upper()} for {recipe.num_images} images, from random weights',
        model_base=str(bases / f'light_{recipe.detector}.py'),
        backbone_base=str(bases / f'backbones/fasternet_{arch}.py'),
        training_base=str(bases / 'light_training.py'),
        root=f'{Path(data_root).resolve()}/',
        classes=recipe.classes,
        palette=_palette(len(recipe.classes)),
        image_size=recipe.image_size,
        max_epochs=recipe.max_epochs,
        iterations=math.ceil(recipe.num_images / _BATCH),
        images=f'{Path(images).resolve()}/',
        metric=['bbox', 'segm'] if with_masks else ['bbox'],
        with_masks=with_masks,
        ratios=list(recipe.ratios),
        scale=scale,
        scales=scales,
        interval=max(1, recipe.max_epochs // 8),
    )
    return write_file(path, text.encode())


def _palette(number: int) -> list[tuple[int, ...]]:
    """As many colours, far apart in hue."""
    hues = [index * 0.618 % 1 for index in range(number)]
    return [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.85, 0.9)) for hue in hues]
