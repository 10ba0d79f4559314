"""Small exports of annotation tools, all of the same objects, for the tests of their readers."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

WIDTH, HEIGHT = 64, 48
# A box, as corners; half of it as a triangle; and all of it as a mask.
BOX = [10, 8, 30, 28]
TRIANGLE = [10, 8, 30, 8, 10, 28]
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[8:28, 10:30] = True


def write_image(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), seed: int | None = None, **options) -> Path:
    """An image of blocks that no other looks like."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(sum(path.name.encode()) if seed is None else seed)
    blocks = Image.fromarray(random.integers(0, 256, (16, 17, 3), np.uint8)).resize(size, Image.Resampling.BOX)
    blocks.save(path, **options)
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def write_mask(path: Path, mask: np.ndarray = MASK, value: int = 255) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * value).save(path)
    return path


def coco(root: Path, *annotations: dict, name: str = 'a.png', folder: str = '', **image) -> Path:
    """A COCO JSON of one image; each annotation says how it differs from a box."""
    write_image(root / folder / 'a.png')
    x, y, right, bottom = BOX
    usual = dict(image_id=7, category_id=3, bbox=[x, y, right - x, bottom - y], area=1, iscrowd=0)
    content = dict(
        images=[dict(id=7, file_name=name, width=WIDTH, height=HEIGHT, **image)],
        annotations=[dict(usual, id=number, **one) for number, one in enumerate(annotations or [{}])],
        categories=[dict(id=3, name='cat')],
    )
    content['annotations'] = [{k: v for k, v in one.items() if v is not ...} for one in content['annotations']]
    return write_text(root / folder / 'coco.json', json.dumps(content))


def voc(root: Path, *things: str, size: str = f'<width>{WIDTH}</width><height>{HEIGHT}</height>', **other) -> Path:
    """A VOC XML of one image; each thing is what stands in an <object> beside its name."""
    write_image(root / other.get('image', 'a.png'))
    things = things or (voc_box(*BOX),)
    objects = ''.join(f'<object><name>cat</name>{thing}</object>' for thing in things)
    text = f'<annotation><filename>{other.get("name", "a.png")}</filename><size>{size}</size>{objects}</annotation>'
    return write_text(root / other.get('xml', 'a.xml'), text)


def voc_box(left, top, right, bottom) -> str:
    return f'<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>'


def yolo(root: Path, *lines: str, names: str | None = 'names: [cat]') -> Path:
    write_image(root / 'images/a.png')
    if names:
        write_text(root / 'data.yaml', names)
    return write_text(root / 'labels/a.txt', '\n'.join(lines or [yolo_box()]))


def yolo_box(label: int = 0) -> str:
    left, top, right, bottom = BOX
    center, middle = (left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT
    return f'{label} {center} {middle} {(right - left) / WIDTH} {(bottom - top) / HEIGHT}'


def yolo_polygon(points: list[float] = TRIANGLE) -> str:
    return '0 ' + ' '.join(str(value / (HEIGHT if place % 2 else WIDTH)) for place, value in enumerate(points))


def labelme(root: Path, *shapes: dict) -> Path:
    write_image(root / 'a.png')
    usual = dict(label='cat', group_id=None, flags={})
    content = dict(version='5.5.0', flags={}, imagePath='..\\a.png', imageData='not read', shapes=[])
    content.update(imageWidth=WIDTH, imageHeight=HEIGHT, shapes=[{**usual, **shape} for shape in shapes])
    return write_text(root / 'a.json', json.dumps(content))


def labelme_mask() -> dict:
    stream = io.BytesIO()
    Image.fromarray(MASK[8:28, 10:30]).save(stream, 'PNG')
    text = base64.b64encode(stream.getvalue()).decode()
    return dict(shape_type='mask', points=[[10, 8], [29, 27]], mask=text)


def pairs(points: list[float]) -> list[list[float]]:
    return [list(point) for point in zip(points[::2], points[1::2], strict=True)]


def via(root: Path, *shapes: dict, attributes: tuple = (), project: bool = False) -> Path:
    write_image(root / 'a.png')
    attributes = attributes or ({'class': 'cat'},) * len(shapes)
    regions = [
        dict(shape_attributes=shape, region_attributes=held) for shape, held in zip(shapes, attributes, strict=True)
    ]
    content = {'a.png99': dict(filename='a.png', size=99, regions=regions, file_attributes={})}
    content = dict(_via_settings={}, _via_img_metadata=content, _via_attributes={}) if project else content
    return write_text(root / 'via.json', json.dumps(content))


def cvat(root: Path, *things: str, subset: str = '') -> Path:
    write_image(root / 'images' / subset / 'a.png')
    image = f'<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}" subset="{subset}">{"".join(things)}</image>'
    return write_text(root / 'annotations.xml', f'<annotations><version>1.1</version>{image}</annotations>')


def masks(root: Path, *names: str) -> None:
    write_image(root / 'images/a.png')
    for name in names:
        write_mask(root / 'masks/a' / name)


def _via_polygon() -> dict:
    return dict(name='polygon', all_points_x=TRIANGLE[::2], all_points_y=TRIANGLE[1::2])


def _rle(compressed: bool) -> dict:
    counts = coco_mask.encode(np.asfortranarray(MASK, np.uint8))['counts'].decode()
    runs = [10 * HEIGHT + 8, *[20, HEIGHT - 20] * 19, 20, HEIGHT - 28 + 34 * HEIGHT]
    return dict(segmentation=dict(size=[HEIGHT, WIDTH], counts=counts if compressed else runs))


def _voc_mask(root: Path) -> None:
    voc(root, image='JPEGImages/a.png', xml='Annotations/a.xml')
    write_mask(root / 'SegmentationObject/a.png', value=1)


def _voc_points() -> str:
    tags = [f'{"xy"[place % 2]}{place // 2 + 1}' for place in range(len(TRIANGLE))]
    return ''.join(f'<{tag}>{value}</{tag}>' for tag, value in zip(tags, TRIANGLE, strict=True))


_CORNERS = 'xtl="10" ytl="8" xbr="30" ybr="28"'
_CVAT_POINTS = ';'.join(f'{x},{y}' for x, y in pairs(TRIANGLE))
# Format, what it holds, how it is written, and the area of the mask in pixels: None where the format has a box alone.
CELLS: dict[tuple[str, str], tuple[Callable[[Path], object], int | None]] = {
    ('coco', 'box'): (coco, None),
    ('coco', 'box with an empty segmentation'): (lambda root: coco(root, dict(segmentation=[])), None),
    ('coco', 'polygon'): (lambda root: coco(root, dict(segmentation=[TRIANGLE])), 200),
    ('coco', 'run lengths'): (lambda root: coco(root, _rle(False)), 400),
    ('coco', 'compressed run lengths'): (lambda root: coco(root, _rle(True)), 400),
    ('voc', 'box'): (voc, None),
    ('voc', 'polygon'): (lambda root: voc(root, f'{voc_box(*BOX)}<polygon>{_voc_points()}</polygon>'), 200),
    ('voc', 'mask of objects'): (_voc_mask, 400),
    ('yolo', 'box'): (yolo, None),
    ('yolo', 'polygon'): (lambda root: yolo(root, yolo_polygon()), 200),
    ('labelme', 'rectangle'): (
        lambda root: labelme(root, dict(shape_type='rectangle', points=[[30, 8], [10, 28]])),
        None,
    ),
    ('labelme', 'polygon'): (lambda root: labelme(root, dict(shape_type='polygon', points=pairs(TRIANGLE))), 200),
    ('labelme', 'circle'): (lambda root: labelme(root, dict(shape_type='circle', points=[[20, 18], [30, 18]])), 314),
    ('labelme', 'mask'): (lambda root: labelme(root, labelme_mask()), 400),
    ('via', 'rectangle'): (lambda root: via(root, dict(name='rect', x=10, y=8, width=20, height=20)), None),
    ('via', 'polygon'): (lambda root: via(root, _via_polygon()), 200),
    ('via', 'circle'): (lambda root: via(root, dict(name='circle', cx=20, cy=18, r=10)), 314),
    ('via', 'ellipse'): (lambda root: via(root, dict(name='ellipse', cx=20, cy=18, rx=10, ry=10)), 314),
    ('cvat', 'box'): (lambda root: cvat(root, f'<box label="cat" {_CORNERS}/>'), None),
    ('cvat', 'polygon'): (lambda root: cvat(root, f'<polygon label="cat" points="{_CVAT_POINTS}"/>'), 200),
    ('cvat', 'ellipse'): (lambda root: cvat(root, '<ellipse label="cat" cx="20" cy="18" rx="10" ry="10"/>'), 314),
    ('cvat', 'mask'): (
        lambda root: cvat(root, '<mask label="cat" rle="0, 400" left="10" top="8" width="20" height="20"/>'),
        400,
    ),
    ('masks', 'PNG'): (lambda root: masks(root, 'cat/1.png'), 400),
}
