"""Truth and detections of a few boxes, and a thousand random ones, for the tests of a detector's report."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (200, 100)
CAT, DOG = 3, 7


def coco(objects: list[tuple], classes: dict[int, str] | None = None, images: int = 2) -> dict:
    """Annotations of images 1 to n; an object is its image, its category, its box, and what differs from the usual."""
    classes = classes or {CAT: 'cat', DOG: 'dog'}
    return dict(
        images=[dict(id=n, file_name=f'{n}.png', width=SIZE[0], height=SIZE[1]) for n in range(1, images + 1)],
        categories=[dict(id=number, name=name) for number, name in classes.items()],
        annotations=[
            dict(id=number, image_id=image, category_id=category, bbox=box, area=box[2] * box[3], iscrowd=0)
            | (rest[0] if rest else {})
            for number, (image, category, box, *rest) in enumerate(objects, 1)
        ],
    )


def found(*detections: tuple) -> list[dict]:
    """COCO results; a detection is its image, its category, its box and its score."""
    return [
        dict(image_id=image, category_id=category, bbox=box, score=score) for image, category, box, score in detections
    ]


def write(folder: Path, **contents) -> list[Path]:
    """Write JSON files, and the images that they name."""
    paths = []
    for name, content in contents.items():
        paths.append(folder / f'{name}.json')
        paths[-1].write_text(json.dumps(content))
        for image in content['images'] if isinstance(content, dict) and 'images' in content else ():
            Image.new('RGB', (image['width'], image['height']), 'grey').save(folder / image['file_name'])
    return paths


def random_results(seed: int, images: int = 30, classes: int = 3) -> tuple[dict, list[dict]]:
    """Annotations, some of them crowds, and detections that find most of them, in all sizes, with equal scores too."""
    draw = np.random.default_rng(seed)
    truth, detections = [], []
    for image in range(1, images + 1):
        for _ in range(draw.integers(0, 8)):
            width, height = draw.uniform(4, (150, 90)) ** draw.choice([0.6, 1])
            box = [*(draw.uniform(0, 1, 2) * (np.array(SIZE) - (width, height))), width, height]
            category = int(draw.integers(1, classes + 1))
            crowd = dict(iscrowd=int(draw.random() < 0.1))
            truth.append((image, category, [float(v) for v in box], crowd))
            for _ in range(draw.integers(0, 3)):
                near = np.array(box) + draw.normal(0, 0.12, 4) * [width, height, width, height]
                other = int(draw.integers(1, classes + 1)) if draw.random() < 0.2 else category
                near = [*near[:2].tolist(), *np.abs(near[2:]).tolist()]
                detections.append((image, other, near, round(draw.random(), 1)))
        for _ in range(draw.integers(0, 3)):
            box = [*draw.uniform(0, 50, 2).tolist(), *draw.uniform(5, 50, 2).tolist()]
            detections.append((image, int(draw.integers(1, classes + 1)), box, round(draw.random(), 2)))
    return coco(truth, {n: f'class {n}' for n in range(1, classes + 1)}, images), found(*detections)


def with_masks(entries: list[dict]) -> list[dict]:
    """The same entries with masks that fill their boxes, as run lengths of COCO."""
    from pycocotools import mask as coco_mask

    masked = []
    for entry in entries:
        x, y, w, h = entry['bbox']
        mask = coco_mask.frPyObjects([[x, y, x + w, y, x + w, y + h, x, y + h]], SIZE[1], SIZE[0])[0]
        masked.append(entry | dict(segmentation=dict(size=[SIZE[1], SIZE[0]], counts=mask['counts'].decode())))
    return masked
