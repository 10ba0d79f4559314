"""The truth that a detector is compared with: the objects of a file of COCO annotations, as arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from mmfasternet.datasets.annotations import load_annotations
from mmfasternet.errors import UserError

__all__ = ['Truth', 'read_truth']


@dataclass(frozen=True)
class Truth:
    """What a file of COCO annotations holds. Images and classes are counted from 0, in the order of the file."""

    #: Classes: their names, and id → number.
    classes: list[str]
    class_of_id: dict
    #: Images: their files, widths and heights in pixels (N, 2), and id → number.
    files: list[str]
    sizes: np.ndarray
    image_of_id: dict
    #: Objects, those of an image together: its number, that of the class, x, y, width and height (M, 4), the area in
    #: pixels, whether it is a crowd.
    image: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    #: Objects: run lengths as pycocotools has them; None unless all objects have a mask.
    masks: list[dict] | None

    @property
    def counts(self) -> np.ndarray:
        """Number of objects of each class; crowds are not counted."""
        return np.bincount(self.label[~self.crowd], minlength=len(self.classes))


def read_truth(path: str | Path) -> Truth:
    """Read a file of COCO annotations, checked and repaired.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        UserError: If it can't be read, an annotation is wrong, or there is no object in it.

    Example:
        >>> import json
        >>> image = dict(id=7, file_name='a.png', width=8, height=6)
        >>> box = dict(id=1, image_id=7, category_id=3, bbox=[1, 2, 3, 4])
        >>> content = dict(images=[image], annotations=[box], categories=[dict(id=3, name='cat')])
        >>> _ = Path('coco.json').write_text(json.dumps(content))
        >>> truth = read_truth('coco.json')
        >>> truth.classes, truth.image.tolist(), truth.boxes.tolist(), truth.masks
        (['cat'], [0], [[1.0, 2.0, 3.0, 4.0]], None)
    """
    content = load_annotations(path)
    images, categories = content['images'], content['categories']
    image_of_id = {image['id']: number for number, image in enumerate(images)}
    class_of_id = {category['id']: number for number, category in enumerate(categories)}
    objects = sorted(content['annotations'], key=lambda entry: image_of_id[entry['image_id']])
    if not any(not entry['iscrowd'] for entry in objects):
        raise UserError(f'{path} has no objects, so there is nothing to compare with; give a file with annotations')
    sizes = np.array([(image['width'], image['height']) for image in images], float)
    image = np.array([image_of_id[entry['image_id']] for entry in objects])
    masks = None
    if all(entry.get('segmentation') for entry in objects):
        masks = [_runs(entry['segmentation'], *sizes[number]) for entry, number in zip(objects, image, strict=True)]
    return Truth(
        classes=[category['name'] for category in categories],
        class_of_id=class_of_id,
        files=[image['file_name'] for image in images],
        sizes=sizes,
        image_of_id=image_of_id,
        image=image,
        label=np.array([class_of_id[entry['category_id']] for entry in objects]),
        boxes=np.array([entry['bbox'] for entry in objects], float),
        area=np.array([entry['area'] for entry in objects], float),
        crowd=np.array([bool(entry['iscrowd']) for entry in objects]),
        masks=masks,
    )


def _runs(segmentation: list | dict, width: float, height: float) -> dict:
    """A segmentation as pycocotools' run lengths."""
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, int(height), int(width)))
    if isinstance(segmentation['counts'], list):
        return coco_mask.frPyObjects(segmentation, int(height), int(width))
    return segmentation
