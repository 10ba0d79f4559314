"""Shapes: a generated data set for detection, instance and semantic segmentation.

A scene is a handful of shapes painted one over another on a textured background. From one scene come the picture, the
visible mask of every instance (COCO format) and the map of the classes (ADE20K's format), so the three agree to the
pixel. Everything is a function of the seed: nothing is downloaded.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from rich.progress import track
from rich.table import Table

__all__ = ['CLASSES', 'Instance', 'draw_scene', 'make_shapes', 'semantic_map', 'statistics', 'statistics_table']

CLASSES = ('circle', 'triangle', 'square', 'star', 'ring', 'cross')

MANIFEST = 'shapes.json'
VERSION = 1  # raise it whenever the same seed gives other bytes: data sets made before are then made anew

MIN_SIZE = 96  # of a picture: eight shapes find room in it
NUM_OBJECTS = (2, 8)
TRIES = 100  # to place one shape
MIN_VISIBLE = 96  # pixels: fewer are dust and not an object
OCCLUDED = 0.05  # hidden share from which a shape counts as occluded
SUPERSAMPLING = 4


@dataclass
class Instance:
    """One shape of a scene.

    Args:
        label: Index in ``CLASSES``.
        full: The whole shape as far as the picture reaches, a boolean mask (H, W).
        visible: The part of it that no later shape hides, a boolean mask (H, W).
    """

    label: int
    full: np.ndarray
    visible: np.ndarray

    @property
    def hidden(self) -> float:
        """Share of the shape that other shapes hide, 0 to 1."""
        return 1 - self.visible.sum() / self.full.sum()


def make_shapes(
    root: str | Path,
    num_train: int = 600,
    num_val: int = 120,
    size: tuple[int, int] = (192, 256),
    difficulty: float = 0.5,
    seed: int = 0,
) -> Path:
    """Writes the data set, or finds it complete and unchanged and leaves it as it is.

    The folder is laid out like COCO: ``annotations/instances_{train,val}.json``, ``{train,val}/000001.png``, and beside
    them ``semantic/{train,val}/000001.png`` (see :func:`semantic_map`) and ``shapes.json``, the parameters with a
    checksum over all files. A data set of other parameters or with a damaged file is made anew. It is built in a
    temporary folder and renamed, so no half of one is ever found at ``root``.

    Picture ``i`` of a split depends on ``seed``, ``size`` and ``difficulty`` alone, not on how many there are.

    Args:
        root: Folder of the data set. Its parent is created if needed.
        num_train: Number of pictures to train on, at least 1.
        num_val: Number of pictures to evaluate on, at least 1.
        size: Height and width of a picture in pixels, each at least 96.
        difficulty: 0 (easy) to 1 (hard), see :func:`draw_scene`.
        seed: At least 0. The same one gives the same bytes; the splits draw from disjoint streams of it.

    Returns:
        ``root``.

    Raises:
        ValueError: A parameter is out of its range.
        FileExistsError: ``root`` holds something else than a data set made here.
        OSError: ``root`` can't be written.

    Example:
        >>> import tempfile
        >>> root = make_shapes(tempfile.mkdtemp() + '/shapes', num_train=2, num_val=1)
        >>> sorted(path.name for path in root.iterdir())
        ['annotations', 'semantic', 'shapes.json', 'train', 'val']
    """
    for name, number, least in (('num_train', num_train, 1), ('num_val', num_val, 1), ('seed', seed, 0)):
        if number < least:
            raise ValueError(f'{name} must be at least {least}, got {number}')
    _check_scene(size, difficulty)
    root = Path(root)
    parameters = dict(
        version=VERSION, num_train=num_train, num_val=num_val, size=list(size), difficulty=difficulty, seed=seed
    )
    if _is_complete(root, parameters):
        return root
    if root.exists() and not (root / MANIFEST).is_file() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f'{root} is in the way: it has no {MANIFEST}, so it was not made here and is left alone')

    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f'.{root.name}-') as temporary:
        new = Path(temporary, 'new')
        for stream, (split, number) in enumerate((('train', num_train), ('val', num_val))):
            _write_split(new, split, number, size, difficulty, np.random.SeedSequence(seed, spawn_key=(stream,)))
        manifest = dict(parameters=parameters, sha256=_checksum(new))
        (new / MANIFEST).write_text(json.dumps(manifest, indent=2))
        if root.exists():
            root.rename(Path(temporary, 'old'))
        new.rename(root)
    return root


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int] = (192, 256), difficulty: float = 0.5
) -> tuple[np.ndarray, list[Instance]]:
    """Paints two to eight shapes on a textured background, later ones over earlier ones.

    Sizes (the square root of a shape's area) are log-uniform from 1/8 to 0.65 of the picture's shorter side. Sizes,
    angles, colours and textures are drawn alike for every class. The border may cut a shape. One that would leave too
    little of another to be seen is placed elsewhere.

    Args:
        rng: Where all choices come from.
        size: Height and width in pixels, each at least 96.
        difficulty: 0 to 1. With it grow the noise on everything (standard deviation 5 to 35 grey levels), the clutter
            in the background (0 to 24 strokes and blobs that are no objects), the angles (upright to 60° either way),
            and with its square root how often a shape is put against another (never to always) and the largest share
            of one that others may hide (0 to 80 %). With it fall the distance of a shape's colour from what lies under
            it (at least 120 to 40 grey levels) and what tells objects by colour alone: bright hues for them and greys
            for the background at 0, any colour for both at 1.

    Returns:
        The picture, uint8 (H, W, 3), and its instances from the lowest to the topmost.

    Raises:
        ValueError: The size or the difficulty is out of range.

    Example:
        >>> image, instances = draw_scene(np.random.default_rng(0))
        >>> image.shape, instances[0].visible.shape
        ((192, 256, 3), (192, 256))
    """
    _check_scene(size, difficulty)
    image = _material(rng, size, _dull(rng, difficulty), difficulty)
    for _ in range(round(24 * difficulty)):
        _paint(rng, image, _coverage(_clutter(rng, size), size), difficulty, _dull)

    instances = []
    for _ in range(rng.integers(*NUM_OBJECTS, endpoint=True)):
        placed = _place(rng, size, instances, difficulty)
        if placed is None:
            continue
        label, coverage = placed
        full = coverage >= 0.5
        for below in instances:
            below.visible &= ~full
        instances.append(Instance(label, full, full.copy()))
        _paint(rng, image, coverage, difficulty, _bright)
    return image.clip(0, 255).round().astype(np.uint8), instances


def semantic_map(instances: list[Instance], size: tuple[int, int]) -> np.ndarray:
    """The class of every pixel, as ADE20K's maps have it: 0 is what is no object, ``k`` is ``CLASSES[k - 1]``.

    mmseg reads it in two ways: with ``reduce_zero_label=True`` (as for ADE20K) the background is ignored and the
    classes count from 0; with ``reduce_zero_label=False`` and ``classes=('background', *CLASSES)`` it is a
    class of its own.

    Args:
        instances: Of one scene.
        size: Height and width in pixels.

    Returns:
        uint8 (H, W).

    Example:
        >>> image, instances = draw_scene(np.random.default_rng(0))
        >>> int(semantic_map(instances, (192, 256)).max()) <= len(CLASSES)
        True
    """
    classes = np.zeros(size, np.uint8)
    for instance in instances:
        classes[instance.visible] = instance.label + 1
    return classes


def statistics(annotation_file: str | Path) -> dict:
    """Counts what a split made by :func:`make_shapes` holds.

    Args:
        annotation_file: ``annotations/instances_*.json``.

    Returns:
        ``images`` and ``objects`` (numbers), ``per_class`` (number of each), ``objects_per_image`` (least, mean, most),
        ``small``, ``medium``, ``large`` (shares of the objects by visible area, parted at 32² and 96² pixels as COCO
        does) and ``occluded`` (share of which others hide at least 5 % of the shape; touching isn't enough).

    Example:
        >>> import tempfile
        >>> root = make_shapes(tempfile.mkdtemp() + '/shapes', num_train=2, num_val=1)
        >>> statistics(root / 'annotations/instances_train.json')['images']
        2
    """
    coco = json.loads(Path(annotation_file).read_text())
    labels, areas, hidden, images = (
        np.array([annotation[key] for annotation in coco['annotations']])
        for key in ('category_id', 'area', 'hidden', 'image_id')
    )
    per_image = np.bincount(images, minlength=len(coco['images']) + 1)[1:]
    return dict(
        images=len(coco['images']),
        objects=len(labels),
        per_class={category['name']: int((labels == category['id']).sum()) for category in coco['categories']},
        objects_per_image=(int(per_image.min()), float(per_image.mean()), int(per_image.max())),
        small=float((areas < 32**2).mean()),
        medium=float(((areas >= 32**2) & (areas < 96**2)).mean()),
        large=float((areas >= 96**2).mean()),
        occluded=float((hidden >= OCCLUDED).mean()),
    )


def statistics_table(root: str | Path) -> Table:
    """Shows the statistics of both splits side by side.

    Args:
        root: Folder of a data set made by :func:`make_shapes`.

    Returns:
        A table for ``rich.print``.
    """
    splits = {split: statistics(_annotation_file(Path(root), split)) for split in ('train', 'val')}
    table = Table('', *splits, title=f'shapes in {root}')
    rows = {
        'pictures': lambda s: f'{s["images"]}',
        'objects': lambda s: f'{s["objects"]}',
        'in a picture (least, mean, most)': lambda s: '{}, {:.1f}, {}'.format(*s['objects_per_image']),
        **{name: lambda s, name=name: f'{s["per_class"][name]}' for name in CLASSES},
        'small (under 32² pixels)': lambda s: f'{s["small"]:.0%}',
        'medium': lambda s: f'{s["medium"]:.0%}',
        'large (96² pixels or more)': lambda s: f'{s["large"]:.0%}',
        'occluded (5 % or more hidden)': lambda s: f'{s["occluded"]:.0%}',
    }
    for title, show in rows.items():
        table.add_row(title, *map(show, splits.values()))
    return table


def _check_scene(size: tuple[int, int], difficulty: float) -> None:
    if len(size) != 2 or min(size) < MIN_SIZE:
        raise ValueError(f'size must be a height and a width of at least {MIN_SIZE} pixels, got {size}')
    if not 0 <= difficulty <= 1:
        raise ValueError(f'difficulty must lie between 0 and 1, got {difficulty}')


# A scene --------------------------------------------------------------------------------------------------------------


def _place(
    rng: np.random.Generator, size: tuple[int, int], instances: list[Instance], difficulty: float
) -> tuple[int, np.ndarray] | None:
    """Finds a class and a coverage for the next shape; None where no try leaves enough of it and of those below it."""
    label = int(rng.integers(len(CLASSES)))
    overlap = np.sqrt(difficulty)  # so that many are occluded before noise and clutter make them hard to tell
    for _ in range(TRIES):
        side = min(size) * np.exp(rng.uniform(np.log(1 / 8), np.log(0.65)))
        centre = rng.uniform(side / 2, np.subtract(size, side / 2))
        if instances and rng.random() < overlap:
            under = np.argwhere(instances[rng.integers(len(instances))].visible)
            centre = under[rng.integers(len(under))] + rng.normal(0, side / 2, 2)
        turn = rng.uniform(-np.pi / 3, np.pi / 3) * difficulty
        coverage = _coverage(_outline(label, side, turn, centre), size)
        full = coverage >= 0.5
        least = [MIN_VISIBLE, *(max(MIN_VISIBLE, (1 - 0.8 * overlap) * below.full.sum()) for below in instances)]
        left = [full.sum(), *((below.visible & ~full).sum() for below in instances)]
        if np.all(np.greater_equal(left, least)):
            return label, coverage
    return None


def _outline(label: int, side: float, turn: float, centre: np.ndarray) -> list[np.ndarray]:
    """Outlines of one shape as (y, x) in pixels, turned by radians; its area is that of a square of the given side.

    All outlines are filled at once by the even-odd rule, hence the ring's hole.
    """
    match CLASSES[label]:
        case 'circle':
            outlines = [_polygon(64)]
        case 'triangle':
            outlines = [_polygon(3) @ _rotation(np.pi / 2)]
        case 'square':
            outlines = [_polygon(4) @ _rotation(np.pi / 4)]
        case 'star':
            outlines = [_polygon(10) * np.tile([1, 0.45], 5)[:, None] @ _rotation(np.pi / 2)]
        case 'ring':
            outlines = [_polygon(64), _polygon(64)[::-1] * 0.55]  # the hole runs backwards: its area counts as negative
        case 'cross':
            arm, end = 1, 3
            quarter = np.array([[end, arm], [arm, arm], [arm, end]])
            outlines = [np.concatenate([quarter @ _rotation(k * np.pi / 2) for k in range(4)])]
    area = abs(sum(_signed_area(outline) for outline in outlines))
    return [outline @ _rotation(turn) * (side / np.sqrt(area)) + centre for outline in outlines]


def _clutter(rng: np.random.Generator, size: tuple[int, int]) -> list[np.ndarray]:
    """Outline of something that is no object: a stroke or a blob."""
    centre = rng.uniform(0, size)
    if rng.random() < 0.5:
        half = [rng.uniform(8, 60), rng.uniform(0.5, 2)]  # half of its length and width
        return [np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * half @ _rotation(rng.uniform(0, np.pi)) + centre]
    waves = np.arange(2, 5)[:, None] * np.linspace(0, 2 * np.pi, 64, endpoint=False) + rng.uniform(0, 2 * np.pi, (3, 1))
    radius = rng.uniform(4, 24) * (1 + 0.25 * np.sin(waves).sum(0))
    return [_polygon(64) * radius[:, None] + centre]


def _polygon(corners: int) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.sin(angles), np.cos(angles)], 1)


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _signed_area(outline: np.ndarray) -> float:
    y, x = outline.T
    return float(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1))) / 2


def _coverage(outlines: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Share of every pixel that lies inside, float32 (H, W)."""
    height, width = size
    fine = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    # A pixel's centre has whole coordinates for OpenCV; ours lie half a pixel from its edges.
    corners = [np.round(outline[:, ::-1] * SUPERSAMPLING - 0.5).astype(np.int32) for outline in outlines]
    cv2.fillPoly(fine, corners, 255)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _dull(rng: np.random.Generator, difficulty: float) -> np.ndarray:
    """Colour of background and clutter: a grey, tinted with the difficulty."""
    return rng.uniform(30, 225) + rng.normal(0, 60 * difficulty, 3)


def _bright(rng: np.random.Generator, difficulty: float) -> np.ndarray:
    """Colour of an object: any hue, bright where the difficulty is low."""
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.ptp(colour) >= 200 * (1 - difficulty):
            return colour


def _paint(
    rng: np.random.Generator,
    image: np.ndarray,
    coverage: np.ndarray,
    difficulty: float,
    draw_colour: Callable[[np.random.Generator, float], np.ndarray],
) -> None:
    """Covers part of the picture with a material whose colour stands out from what lies there."""
    left, top, width, height = cv2.boundingRect((coverage > 0).astype(np.uint8))
    if not width:  # clutter may lie outside
        return
    window = np.s_[top : top + height, left : left + width]
    under, coverage = image[window], coverage[window][..., None]
    mean = (under * coverage).sum((0, 1)) / coverage.sum()
    colour = draw_colour(rng, difficulty)
    while np.linalg.norm(colour - mean) < 120 - 80 * difficulty:
        colour = draw_colour(rng, difficulty)
    under += coverage * (_material(rng, (height, width), colour, difficulty) - under)


def _material(rng: np.random.Generator, size: tuple[int, int], colour: np.ndarray, difficulty: float) -> np.ndarray:
    """A surface, float32 (H, W, 3): the colour, shaded from one side to the other, under noise of four scales."""
    height, width = size
    angle = rng.uniform(0, 2 * np.pi)
    y = np.linspace(-0.5, 0.5, height)[:, None] * np.sin(angle)
    x = np.linspace(-0.5, 0.5, width) * np.cos(angle)
    surface = (colour + (y + x)[..., None] * rng.normal(0, 40, 3)).astype(np.float32)
    weights = rng.dirichlet(np.ones(4)) ** 0.5  # squares sum to one: so does the noise's variance
    for weight, cell in zip(weights, (2, 6, 20, 64), strict=True):
        grid = rng.standard_normal((height // cell + 2, width // cell + 2, 3), np.float32)
        grid *= (5 + 30 * difficulty) * weight
        surface += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return surface


# Its files ------------------------------------------------------------------------------------------------------------


def _write_split(
    root: Path, split: str, number: int, size: tuple[int, int], difficulty: float, seeds: np.random.SeedSequence
) -> None:
    pictures, maps = root / split, root / 'semantic' / split
    pictures.mkdir(parents=True)
    maps.mkdir(parents=True)
    height, width = size
    images, annotations = [], []
    for index, seed in enumerate(track(seeds.spawn(number), f'drawing shapes to {split}', transient=True), 1):
        picture, instances = draw_scene(np.random.default_rng(seed), size, difficulty)
        name = f'{index:06d}.png'
        _write_png(pictures / name, picture)
        _write_png(maps / name, semantic_map(instances, size))
        images.append(dict(id=index, file_name=name, height=height, width=width))
        for instance in instances:
            annotations.append(dict(id=len(annotations) + 1, image_id=index, **_annotation(instance)))

    coco = dict(
        info=dict(description='Shapes, generated by mmfasternet', version=str(VERSION)),
        licenses=[dict(id=1, name='CC0 1.0', url='https://creativecommons.org/publicdomain/zero/1.0/')],
        categories=[dict(id=index, name=name, supercategory='shape') for index, name in enumerate(CLASSES, 1)],
        images=images,
        annotations=annotations,
    )
    file = _annotation_file(root, split)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(coco))


def _annotation(instance: Instance) -> dict:
    """COCO's entry of an instance: what is visible of it, as run lengths, and ``hidden``, the share that is not."""
    rle = coco_mask.encode(np.asfortranarray(instance.visible, np.uint8))
    return dict(
        category_id=instance.label + 1,
        segmentation=dict(size=rle['size'], counts=rle['counts'].decode()),
        bbox=coco_mask.toBbox(rle).tolist(),
        area=int(coco_mask.area(rle)),
        iscrowd=0,
        hidden=round(float(instance.hidden), 4),
    )


def _write_png(path: Path, picture: np.ndarray) -> None:
    done, data = cv2.imencode('.png', picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    path.write_bytes(data)


def _annotation_file(root: Path, split: str) -> Path:
    return root / 'annotations' / f'instances_{split}.json'


def _checksum(root: Path) -> str:
    """SHA-256 over the names and the bytes of all files but the manifest."""
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob('*') if path.is_file() and path.name != MANIFEST):
        digest.update(f'{path.relative_to(root).as_posix()}\n'.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_complete(root: Path, parameters: dict) -> bool:
    try:
        manifest = json.loads((root / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return manifest == dict(parameters=parameters, sha256=_checksum(root))
