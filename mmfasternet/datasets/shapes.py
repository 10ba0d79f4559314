"""Shapes: a generated data set for detection, instance and semantic segmentation.

A scene is a handful of shapes painted over each other on a textured background. The image, the visible mask of every
instance (COCO's format) and the semantic map (ADE20K's format) come from one scene, so that they agree to the pixel.
Everything is a function of the seed, and nothing is downloaded.
"""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from mmfasternet.cores import usable_cores
from mmfasternet.errors import UserError
from mmfasternet.files import replacing

__all__ = [
    'CLASSES',
    'MANIFEST',
    'Instance',
    'draw_scene',
    'make_shapes',
    'semantic_map',
    'statistics',
    'statistics_table',
]

CLASSES = ('circle', 'triangle', 'square', 'star', 'ring', 'cross')

MANIFEST = 'shapes.json'
_VERSION = 1  # increase it whenever a seed gives other bytes, so that older data sets are made again

_MIN_SIZE = 96  # of an image: eight shapes fit into it
_NUM_OBJECTS = (2, 8)
_TRIES = 100  # to place one shape
_MIN_VISIBLE = 96  # pixels: fewer do not count as an object
_OCCLUDED = 0.05  # hidden share from which a shape counts as occluded
_SUPERSAMPLING = 4


@dataclass
class Instance:
    """One shape of a scene.

    Args:
        label: Index in ``CLASSES``.
        full: The complete shape as far as the image reaches, a boolean mask (H, W).
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
    difficulty: float = 0.1,
    seed: int = 0,
    on_image: Callable[[int], object] | None = None,
) -> Path:
    """Write the data set; one that is already there, complete and with these parameters, is left as it is.

    The folder has COCO's layout: ``annotations/instances_{train,val}.json``, ``{train,val}/000001.png``, and beside
    them ``semantic/{train,val}/000001.png`` (see :func:`semantic_map`) and ``shapes.json``, the parameters with a
    checksum over all files. It is written completely or not at all. A data set of other parameters is replaced, but
    only if the checksum shows that nobody has changed it or added to it: nothing is deleted that was not made here.

    Image ``i`` of a split depends on ``seed``, ``size`` and ``difficulty`` alone, not on the number of images. The
    defaults are the parameters of the demo's data.

    Args:
        root: Folder of the data set. Its parent is created if needed.
        num_train: Number of images to train on, at least 1. Defaults to 600.
        num_val: Number of images to evaluate on, at least 1. Defaults to 120.
        size: Height and width of an image in pixels, each at least 96. Defaults to (192, 256).
        difficulty: 0 (easy) to 1 (hard), see :func:`draw_scene`. Defaults to 0.1.
        seed: At least 0. The same seed gives the same bytes; the splits draw from disjoint streams of it. Defaults to
            0.
        on_image: Called with the number of images that are done, after each. None shows a progress bar. Defaults to
            None.

    Returns:
        ``root``.

    Raises:
        UserError: If a parameter is out of its range, ``root`` holds anything that was not made here or has changed
            since, or it can't be written.

    Example:
        >>> root = make_shapes('shapes', num_train=2, num_val=1)
        >>> sorted(path.name for path in root.iterdir())
        ['annotations', 'semantic', 'shapes.json', 'train', 'val']
    """
    for name, number, least in (('num_train', num_train, 1), ('num_val', num_val, 1), ('seed', seed, 0)):
        if number < least:
            raise UserError(f'{name} must be at least {least}, but got {number}')
    _check_scene(size, difficulty)
    root = Path(root)
    parameters = dict(
        version=_VERSION, num_train=num_train, num_val=num_val, size=list(size), difficulty=difficulty, seed=seed
    )
    if root.exists() and (not root.is_dir() or any(root.iterdir())) and _made_with(root) == parameters:
        return root
    jobs = [
        (split, index, child)
        for stream, (split, number) in enumerate((('train', num_train), ('val', num_val)))
        for index, child in enumerate(np.random.SeedSequence(seed, spawn_key=(stream,)).spawn(number), 1)
    ]
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=bool(on_image) or not console.is_terminal)
    with replacing(root) as new, bar:
        task = bar.add_task('drawing images', total=len(jobs))
        tell = on_image or (lambda done: bar.update(task, completed=done))
        annotations = _draw_images(new, jobs, size, difficulty, tell)
        for split, images in annotations.items():
            _write_annotations(new, split, images, size)
        manifest = dict(parameters=parameters, sha256=_checksum(new))
        (new / MANIFEST).write_text(json.dumps(manifest, indent=2))
    return root


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int] = (192, 256), difficulty: float = 0.1
) -> tuple[np.ndarray, list[Instance]]:
    """Paint two to eight shapes on a textured background, later ones over earlier ones.

    Sizes (the square root of a shape's area) are log-uniform from 1/8 to 0.65 of the image's shorter side. Sizes,
    angles, colours and textures have the same distribution for every class. The border may cut a shape. A shape that
    would leave too little of another one visible is placed elsewhere.

    Args:
        rng: Source of all random choices.
        size: Height and width in pixels, each at least 96. Defaults to (192, 256).
        difficulty: 0 to 1. It increases the noise (standard deviation 5 to 35 grey levels), the clutter in the
            background (0 to 24 strokes and blobs that are no objects), the angles (upright to 60° either way) and, by
            its square root, how often a shape is put against another one (never to always) and the largest share of a
            shape that others may hide (0 to 80 %). It decreases the distance of a shape's colour from what lies under
            it (at least 120 to 40 grey levels) and what tells objects by colour alone: at 0 they have bright hues on
            a grey background, at 1 both have any colour. Defaults to 0.1.

    Returns:
        The image, uint8 (H, W, 3), and its instances from the lowest to the topmost.

    Raises:
        UserError: If the size or the difficulty is out of its range.

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
    for _ in range(rng.integers(*_NUM_OBJECTS, endpoint=True)):
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
    """The class of every pixel, as in ADE20K: 0 where there is no object, ``k`` where there is ``CLASSES[k - 1]``.

    mmseg reads it in two ways: with ``reduce_zero_label=True`` (as for ADE20K), the background is ignored and the
    classes count from 0; with ``reduce_zero_label=False`` and ``classes=('background', *CLASSES)``, the background is a
    class.

    Args:
        instances: The instances of a scene, see :func:`draw_scene`.
        size: Height and width in pixels.

    Returns:
        The map, uint8 (H, W).

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
    """Count what a split of :func:`make_shapes` holds.

    Args:
        annotation_file: Its ``annotations/instances_*.json``.

    Returns:
        ``images`` and ``objects`` (numbers), ``per_class`` (number of each), ``objects_per_image`` (least, mean, most),
        ``small``, ``medium``, ``large`` (shares of the objects by visible area, divided at 32² and 96² pixels as in
        COCO) and ``occluded`` (share of the objects of which others hide at least 5 %).

    Example:
        >>> root = make_shapes('shapes', num_train=2, num_val=1)
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
        occluded=float((hidden >= _OCCLUDED).mean()),
    )


def statistics_table(root: str | Path) -> Table:
    """Show the statistics of both splits side by side.

    Args:
        root: Folder of a data set of :func:`make_shapes`.

    Returns:
        A table for ``rich.print``.

    Example:
        >>> statistics_table(make_shapes('shapes', num_train=2, num_val=1)).row_count
        13
    """
    splits = {split: statistics(_annotation_file(Path(root), split)) for split in ('train', 'val')}
    table = Table('', *splits, title=escape(f'shapes in {root}'))
    rows = {
        'images': lambda s: f'{s["images"]}',
        'objects': lambda s: f'{s["objects"]}',
        'per image (least, mean, most)': lambda s: '{}, {:.1f}, {}'.format(*s['objects_per_image']),
        **{name: lambda s, name=name: f'{s["per_class"][name]}' for name in CLASSES},
        'small (below 32² pixels)': lambda s: f'{s["small"]:.0%}',
        'medium': lambda s: f'{s["medium"]:.0%}',
        'large (96² pixels or more)': lambda s: f'{s["large"]:.0%}',
        'occluded (5 % or more hidden)': lambda s: f'{s["occluded"]:.0%}',
    }
    for title, show in rows.items():
        table.add_row(title, *map(show, splits.values()))
    return table


def _check_scene(size: tuple[int, int], difficulty: float) -> None:
    if len(size) != 2 or min(size) < _MIN_SIZE:
        raise UserError(f'size must be a height and a width of at least {_MIN_SIZE} pixels, but got {size}')
    if not 0 <= difficulty <= 1:
        raise UserError(f'difficulty must be between 0 and 1, but got {difficulty}')


# A scene --------------------------------------------------------------------------------------------------------------


def _place(
    rng: np.random.Generator, size: tuple[int, int], instances: list[Instance], difficulty: float
) -> tuple[int, np.ndarray] | None:
    """Class and coverage of the next shape; None if no try leaves enough of it and of the shapes below it visible."""
    label = int(rng.integers(len(CLASSES)))
    overlap = np.sqrt(
        difficulty
    )  # so that many shapes are occluded before noise and clutter make them hard to recognize
    for _ in range(_TRIES):
        side = min(size) * np.exp(rng.uniform(np.log(1 / 8), np.log(0.65)))
        centre = rng.uniform(side / 2, np.subtract(size, side / 2))
        if instances and rng.random() < overlap:
            under = np.argwhere(instances[rng.integers(len(instances))].visible)
            centre = under[rng.integers(len(under))] + rng.normal(0, side / 2, 2)
        turn = rng.uniform(-np.pi / 3, np.pi / 3) * difficulty
        coverage = _coverage(_outline(label, side, turn, centre), size)
        full = coverage >= 0.5
        area = np.count_nonzero  # ten times as fast as a sum
        least = [_MIN_VISIBLE, *(max(_MIN_VISIBLE, (1 - 0.8 * overlap) * area(below.full)) for below in instances)]
        left = [area(full), *(area(below.visible & ~full) for below in instances)]
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
    coverage = np.zeros(size, np.float32)
    # OpenCV counts from a pixel's centre, these outlines from its corner.
    corners = [np.round(outline * _SUPERSAMPLING - 0.5).astype(np.int32) for outline in outlines]
    # Only the rectangle around them is drawn, as far as the image reaches.
    least, most = np.min([c.min(0) for c in corners], 0), np.max([c.max(0) for c in corners], 0)
    top, left = np.maximum(least // _SUPERSAMPLING, 0)
    bottom, right = np.minimum(most // _SUPERSAMPLING + 1, size)
    if top < bottom and left < right:
        fine = np.zeros(((bottom - top) * _SUPERSAMPLING, (right - left) * _SUPERSAMPLING), np.uint8)
        cv2.fillPoly(fine, [(c - np.array([top, left], np.int32) * _SUPERSAMPLING)[:, ::-1] for c in corners], 255)
        drawn = cv2.resize(fine, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        coverage[top:bottom, left:right] = drawn.astype(np.float32) / 255
    return coverage


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
    """Cover part of the image with a material whose colour stands out from what is there."""
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


def _draw_images(
    root: Path,
    jobs: list[tuple[str, int, np.random.SeedSequence]],
    size: tuple[int, int],
    difficulty: float,
    tell: Callable[[int], object],
) -> dict[str, list[list[dict]]]:
    """Draw and write images, given as split, number and seed; returns split → annotations of each of its images."""
    annotations = {split: [] for split, _, _ in jobs}
    for split in annotations:
        (root / split).mkdir(parents=True)
        (root / 'semantic' / split).mkdir(parents=True)

    def draw(job: tuple[str, int, np.random.SeedSequence]) -> list[dict]:
        split, index, seed = job
        image, instances = draw_scene(np.random.default_rng(seed), size, difficulty)
        _write_png(root / split / f'{index:06d}.png', image)
        _write_png(root / 'semantic' / split / f'{index:06d}.png', semantic_map(instances, size))
        return [_annotation(instance) for instance in instances]

    # Threads are enough, since OpenCV and NumPy compute without Python's lock, and they start at once.
    with ThreadPoolExecutor(usable_cores()) as pool:
        try:
            for done, ((split, _, _), drawn) in enumerate(zip(jobs, pool.map(draw, jobs), strict=True), 1):
                annotations[split].append(drawn)
                tell(done)
        finally:
            pool.shutdown(cancel_futures=True)
    return annotations


def _write_annotations(root: Path, split: str, images: list[list[dict]], size: tuple[int, int]) -> None:
    """Write COCO's file of a split, given the annotations of each image."""
    height, width = size
    entries = ((index, entry) for index, image in enumerate(images, 1) for entry in image)
    coco = dict(
        info=dict(description='Shapes, generated by mmfasternet', version=str(_VERSION)),
        licenses=[dict(id=1, name='CC0 1.0', url='https://creativecommons.org/publicdomain/zero/1.0/')],
        categories=[dict(id=index, name=name, supercategory='shape') for index, name in enumerate(CLASSES, 1)],
        images=[
            dict(id=index, file_name=f'{index:06d}.png', height=height, width=width)
            for index in range(1, len(images) + 1)
        ],
        annotations=[dict(id=number, image_id=index, **entry) for number, (index, entry) in enumerate(entries, 1)],
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


def _write_png(path: Path, image: np.ndarray) -> None:
    done, data = cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    path.write_bytes(data)


def _annotation_file(root: Path, split: str) -> Path:
    return root / 'annotations' / f'instances_{split}.json'


def _checksum(root: Path) -> str:
    """SHA-256 over the names and the bytes of all files but the manifest."""
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob('*') if path.is_file() and path != root / MANIFEST):
        digest.update(f'{path.relative_to(root).as_posix()}\n'.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _made_with(root: Path) -> dict:
    """The parameters that a data set was made with, or an error if it is not as it was made."""
    try:
        manifest = json.loads((root / MANIFEST).read_text())
    except (OSError, ValueError, RecursionError):
        manifest = {}
    if not isinstance(manifest, dict) or 'parameters' not in manifest:
        raise UserError(f'{root} was not made here, since it has no valid {MANIFEST}; choose another folder')
    # The checksum is over files: a link or an empty folder is somebody else's.
    others = [path for path in root.rglob('*') if path.is_symlink() or (path.is_dir() and not any(path.iterdir()))]
    if others or manifest.get('sha256') != _checksum(root):
        raise UserError(
            f'{root} has changed since it was made, or has files of yours: move them and remove it, so that it is '
            'made again, or choose another folder'
        )
    return manifest['parameters']
