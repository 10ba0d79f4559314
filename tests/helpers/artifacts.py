"""Annotated images of which a made-up detector finds every object, and a config that tests on them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from .onnx_files import BOXES, LABELS

__all__ = ['MASKS', 'write_data']

SIZE = (96, 64)
#: Masks that fill the boxes, in the complete image.
MASKS = np.zeros((3, SIZE[1], SIZE[0]), bool)
for mask, (x1, y1, x2, y2) in zip(MASKS, BOXES.astype(int), strict=True):
    mask[y1:y2, x1:x2] = True


def write_data(folder: Path, images: int = 5, classes: tuple[str, ...] = ('cat', 'dog'), moved: float = 0) -> Path:
    """The config; of each image's objects all but one lie where ``write_detector`` finds them, that one by ``moved``.

    The ids of the categories are 7 and 3, in the order of the classes.
    """
    ids = dict(zip(classes, (7, 3), strict=True))
    annotations = []
    for image in range(1, images + 1):
        for label, (x1, y1, x2, y2) in zip(LABELS.tolist(), BOXES.tolist(), strict=True):
            x1, x2 = (x1 + moved, x2 + moved) if not annotations else (x1, x2)
            entry = dict(id=len(annotations) + 1, image_id=image, category_id=ids[classes[label]], iscrowd=0)
            corners = [x1, y1, x2, y1, x2, y2, x1, y2]
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append(entry | dict(bbox=box, area=box[2] * box[3], segmentation=[corners]))
        pixels = np.random.default_rng(image).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
        (folder / 'val').mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f'val/{image}.png')
    files = [dict(id=n, file_name=f'{n}.png', width=SIZE[0], height=SIZE[1]) for n in range(1, images + 1)]
    categories = [dict(id=number, name=name) for name, number in ids.items()]
    content = dict(images=files, annotations=annotations, categories=categories)
    (folder / 'coco.json').write_text(json.dumps(content))
    dataset = dict(
        type='CocoDataset',
        data_root=f'{folder}/',
        ann_file='coco.json',
        data_prefix=dict(img='val/'),
        metainfo=dict(classes=classes),
        test_mode=True,
        pipeline=[dict(type='PackDetInputs')],
    )
    config = folder / 'made_up.py'
    config.write_text(
        "default_scope = 'mmdet'\nmodel = dict(type='RetinaNet', backbone=dict(type='FasterNet'))\n"
        f'test_dataloader = dict(batch_size=1, dataset={dataset!r})\n'
    )
    return config
