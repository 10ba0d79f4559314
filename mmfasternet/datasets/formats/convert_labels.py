"""From semantic maps, or from folders of classes, to what mmseg and mmpretrain read; images stay where they are."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from mmfasternet.errors import UserError, printable
from mmfasternet.files import replacing

from .class_folders import read_class_folders
from .convert import Conversion
from .files import SourceFiles
from .maps import read_maps
from .output import own_folder, summary_digest, write_summary
from .source import LabelledImage, Notes, Source
from .splitting import assign_splits, by_split, check_share, count_classes

__all__ = ['convert_classes', 'convert_maps']


def convert_maps(
    source: str | Path,
    out: str | Path,
    names: dict[int, str] | None = None,
    skip_bad: bool = False,
    val: float = 0.2,
    seed: int = 0,
) -> Conversion:
    """Read semantic maps, split them if they are not, and write maps and lists of images to ``OUT/semantic``.

    Args:
        source: Folder of images and maps.
        out: Folder to write, outside of the source.
        names: Value in the maps → name of its class, or 'ignore'. Defaults to None, for those of the source.
        skip_bad: Leave out what can't be read, instead of raising an error. Defaults to False.
        val: Share of the images to evaluate on where the source has none, between 0 and 1. Defaults to 0.2.
        seed: Of that split. Defaults to 0.

    Returns:
        What was read and left out, and the images that were written, each with the pixels of its classes.

    Raises:
        UserError: If the source can't be read, nothing says what the maps mean, or ``out`` holds another data set.

    Example:
        >>> for folder in ('set/images', 'set/masks'):
        ...     Path(folder).mkdir(parents=True)
        >>> for name in 'ab':
        ...     image = np.random.default_rng(ord(name)).integers(0, 255, (32, 40), np.uint8)
        ...     _ = cv2.imwrite(f'set/images/{name}.png', image), cv2.imwrite(f'set/masks/{name}.png', image // 128)
        >>> print(convert_maps('set', 'out').text.splitlines()[2])
        maps: 0 is background, 1 is class_1
    """
    check_share(val)
    folder = own_folder(Path(source), Path(out), 'semantic', summary_digest)
    notes = Notes()
    read = read_maps(SourceFiles(Path(source), notes), notes, names)
    lines, splits = _split(read, skip_bad, val, seed)
    number = len(read.classes)
    with replacing(folder) as part:
        part.mkdir()
        for split, images in splits.items():
            for image in images:
                labels = read.labels_of(image.path)
                path = part / split / f'{image.path}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(cv2.imencode('.png', labels)[1].tobytes())
                counts = np.bincount(labels.ravel(), minlength=256)
                image.pixels = np.append(counts[:number], counts[number:].sum())
            if images:
                _write_lines(part / f'{split}.txt', [image.path.as_posix() for image in images])
        pixels = sum((image.pixels for image in splits['train']), np.zeros(number + 1, int))[:number].tolist()
        write_summary(part, read.root, **_facts(read, splits), pixels=pixels)
    return Conversion(_report(read, lines, splits, 'images with each class'), read)


def convert_classes(
    source: str | Path, out: str | Path, skip_bad: bool = False, val: float = 0.2, seed: int = 0
) -> Conversion:
    """Read folders of classes, split them if they are not, and write lists to ``OUT/labels``.

    Args:
        source: Folder of the folders.
        out: Folder to write, outside of the source.
        skip_bad: Leave out what can't be read, instead of raising an error. Defaults to False.
        val: Share of the images to evaluate on where the source has none, between 0 and 1. Defaults to 0.2.
        seed: Of that split. Defaults to 0.

    Returns:
        What was read and left out, and the images that were written.

    Raises:
        UserError: If the source can't be read, its splits have different classes, or ``out`` holds another data set.

    Example:
        >>> for name in ('cat/1', 'cat/2', 'dog/1', 'dog/2'):
        ...     path = Path(f'set/{name}.png')
        ...     path.parent.mkdir(parents=True, exist_ok=True)
        ...     image = np.random.default_rng(len(name) + ord(name[0]) + ord(name[-1])).integers(0, 255, (32, 40))
        ...     _ = cv2.imwrite(str(path), image)
        >>> _ = convert_classes('set', 'out')
        >>> Path('out/labels/classes.txt').read_text().split()
        ['cat', 'dog']
    """
    check_share(val)
    folder = own_folder(Path(source), Path(out), 'labels', summary_digest)
    notes = Notes()
    read = read_class_folders(SourceFiles(Path(source), notes), notes)
    lines, splits = _split(read, skip_bad, val, seed)
    numbers = {name: number for number, name in enumerate(read.classes)}
    with replacing(folder) as part:
        part.mkdir()
        for split, images in splits.items():
            if images:
                _write_lines(
                    part / f'{split}.txt', [f'{image.path.as_posix()} {numbers[image.labels[0]]}' for image in images]
                )
        (part / 'classes.txt').write_text(''.join(f'{name}\n' for name in read.classes), encoding='utf-8')
        write_summary(part, read.root, **_facts(read, splits))
    return Conversion(_report(read, lines, splits, 'images of each class'), read)


def _split(read: Source, skip_bad: bool, val: float, seed: int) -> tuple[list[str], dict[str, list[LabelledImage]]]:
    for image in read.images:
        if not _fits_a_line(image.path):
            read.notes.bad.append(f'{image.path}: no line of a list can hold this name; rename it')
    if not skip_bad:
        read.notes.refuse_bad()
    read.images = [image for image in read.images if _fits_a_line(image.path)]
    if not read.images:
        raise UserError('\n'.join([f'{read.root} has no image that can be read', *read.notes.lines()]))
    lines = assign_splits(read, val, seed)
    splits = by_split(read)
    untrained = [name for name in read.classes if not any(name in image.labels for image in splits['train'])]
    if untrained:
        lines.append(printable(f'noticed: no image to train on has {", ".join(untrained)}'))
    return lines, splits


def _fits_a_line(path: Path) -> bool:
    """mmengine strips lines, and ends them at more characters than a line feed."""
    name = path.as_posix()
    return name == name.strip() and len(name.splitlines()) == 1


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')


def _facts(read: Source, splits: dict[str, list[LabelledImage]]) -> dict:
    """What a config needs to know."""
    sizes = Counter((image.width, image.height) for image in splits['train'])
    return dict(
        classes=read.classes,
        images={split: len(images) for split, images in splits.items()},
        sizes=[[*size, count] for size, count in sizes.most_common()],
    )


def _report(read: Source, lines: list[str], splits: dict[str, list[LabelledImage]], counted: str) -> str:
    read.notes.remarks.append(f'read: {len(read.images)} images of {len(read.classes)} classes')
    table = count_classes(splits, read.classes)
    return '\n'.join([*read.notes.lines(), *lines, f'{counted}:', *table])
