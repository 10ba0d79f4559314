"""What to train on your own data: detector, image size, anchors and epochs follow from the objects."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmfasternet.errors import UserError

from .annotations import read_annotations

__all__ = ['DETECTORS', 'STARTS', 'VALIDATIONS', 'Recipe', 'plan_training']

#: Detector → what it is called, and whether it needs masks.
DETECTORS = dict(mask_rcnn=('Mask R-CNN', True), faster_rcnn=('Faster R-CNN', False), retinanet=('RetinaNet', False))

#: What a training starts from: random weights, light and small, or the weights that the authors have released.
STARTS = ('scratch', 'released')

#: How often a training validates.
VALIDATIONS = 8

# Images in a batch, and the iterations after which a detector has learned a few classes.
_BATCH = dict(scratch=4, released=2)
_ITERATIONS = dict(scratch=2000, released=3000)
# Pixels of the smaller objects in the resized images, and the limits of the longer side.
_SMALL, _SIDES, _STRIDE = 16, (256, 512), 32
# Limits of the objects that a detector finds in an image; the released ones have their own.
_FOUND = dict(scratch=(50, 300), released=(100, 300))
_RELEASED_SIZE = (1333, 800)  # on which the released detectors were trained


@dataclass(frozen=True)
class Recipe:
    """What a config for your own data sets.

    Args:
        detector: One of ``DETECTORS``.
        start: One of ``STARTS``.
        classes: Names, in the order of the categories.
        image_size: Upper limits of an image's longer and shorter side, pixels.
        sizes: Square roots of the boxes' areas in the resized images, 5th and 95th percentile, pixels.
        ratios: Heights of the anchors, divided by their widths.
        num_images: Images to train on that have objects.
        max_epochs: Epochs.
        max_per_img: Objects that the detector finds in an image at most. Defaults to 50.
    """

    detector: str
    start: str
    classes: tuple[str, ...]
    image_size: tuple[int, int]
    sizes: tuple[float, float]
    ratios: tuple[float, ...]
    num_images: int
    max_epochs: int
    max_per_img: int = 50

    @property
    def epoch_length(self) -> int:
        """Iterations of an epoch on one device."""
        return math.ceil(self.num_images / _BATCH[self.start])

    @property
    def val_interval(self) -> int:
        """Epochs between two validations."""
        return math.ceil(self.max_epochs / VALIDATIONS)

    def resized(self, longer: int) -> 'Recipe':
        """The same with images of another size.

        Args:
            longer: The longer side, pixels.

        Returns:
            The recipe.

        Example:
            >>> Recipe('retinanet', 'scratch', ('cat',), (320, 240), (20.0, 80.0), (1.0,), 200, 40).resized(256).sizes
            (16.0, 64.0)
        """
        scale = longer / self.image_size[0]
        size = longer, max(_STRIDE, round(self.image_size[1] * scale))
        return replace(self, image_size=size, sizes=tuple(side * scale for side in self.sizes))


def plan_training(folder: str | Path, detector: str = 'auto', start: str = 'scratch') -> Recipe:
    """Plan a training that suits the objects.

    Args:
        folder: Folder of ``instances_train.json`` and ``instances_val.json``, which have passed the check.
        detector: One of ``DETECTORS``. 'auto' means Mask R-CNN if all objects have masks, and else RetinaNet or, from
            released weights, Faster R-CNN. Defaults to 'auto'.
        start: One of ``STARTS``. Defaults to 'scratch'.

    Returns:
        The plan.

    Raises:
        UserError: If there is no object, or the detector needs masks that are not there.

    Example:
        >>> from mmfasternet.datasets import make_shapes
        >>> root = make_shapes('shapes', num_train=4, num_val=2, size=(192, 256))
        >>> recipe = plan_training(root / 'annotations')
        >>> recipe.detector, recipe.image_size, recipe.max_epochs
        ('mask_rcnn', (256, 192), 300)
    """
    path = Path(folder, 'instances_train.json')
    content, others = read_annotations(path), read_annotations(Path(folder, 'instances_val.json'))
    objects = [annotation for annotation in content['annotations'] if not annotation.get('iscrowd')]
    if not objects:
        raise UserError(f'{path} has no object to learn from')
    with_masks = all(each.get('segmentation') for each in (*content['annotations'], *others['annotations']))
    if detector == 'auto':
        detector = 'mask_rcnn' if with_masks else 'faster_rcnn' if start == 'released' else 'retinanet'
    if start == 'released' and detector == 'retinanet':
        raise UserError('the authors have released no RetinaNet: take faster_rcnn, or random weights (--from scratch)')
    if DETECTORS[detector][1] and not with_masks:
        raise UserError(f'{folder} has objects without a mask, which {DETECTORS[detector][0]} needs; take faster_rcnn')
    images = {image['id']: (image['width'], image['height']) for image in content['images']}
    shapes = np.array([images[annotation['image_id']] for annotation in objects], float)
    boxes = np.array([annotation['bbox'][2:] for annotation in objects], float)
    kinds = np.array([annotation['category_id'] for annotation in objects])
    # As parts of the longer side, since all images are resized to the same one.
    parts = np.sqrt(boxes.prod(1)) / shapes.max(1)
    ratios = boxes[:, 1] / np.maximum(boxes[:, 0], 1e-6)
    low, high = np.percentile(ratios, [10, 90])
    used = len({annotation['image_id'] for annotation in objects})
    image_size = _RELEASED_SIZE if start == 'released' else _light_size(parts, kinds, images.values())
    return Recipe(
        detector=detector,
        start=start,
        classes=tuple(category['name'] for category in content['categories']),
        image_size=image_size,
        sizes=tuple(float(np.percentile(parts, percent) * image_size[0]) for percent in (5, 95)),
        ratios=(1.0,) if low > 0.6 and high < 1.6 else (0.5, 1.0, 2.0),
        num_images=used,
        max_per_img=_most_found((content, others), start),
        max_epochs=min(300, max(4, round(_ITERATIONS[start] / math.ceil(used / _BATCH[start])))),
    )


def _most_found(contents: Iterable[dict], start: str) -> int:
    """Half as many again as the fullest image has, since some are found twice, in steps of 50."""
    counts = [Counter(each['image_id'] for each in content['annotations']) for content in contents]
    fullest = max(max(count.values(), default=0) for count in counts)
    return int(np.clip(math.ceil(1.5 * fullest / 50) * 50, *_FOUND[start]))


def _light_size(parts: np.ndarray, kinds: np.ndarray, images: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Longer and shorter side at which the smaller objects of each class still have a few pixels."""
    lowest = min(np.percentile(parts[kinds == kind], 25) for kind in np.unique(kinds))
    longer = int(np.clip(math.ceil(_SMALL / max(lowest, 1e-6) / _STRIDE) * _STRIDE, *_SIDES))
    width, height = Counter(images).most_common(1)[0][0]
    longer = min(longer, max(width, height, _STRIDE))
    return longer, max(_STRIDE, round(longer * min(width, height) / max(width, height)))
