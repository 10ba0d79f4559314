"""From an export to a COCO data set that refers to the images where they lie."""

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmfasternet.datasets.annotations import read_annotations
from mmfasternet.datasets.splits import choose_val, find_scenes, shared_scenes
from mmfasternet.errors import UserError, printable
from mmfasternet.files import replacing

from .parse import as_dict
from .read import read_source
from .source import Source, SourceImage, listing

__all__ = ['convert_source']

_SPLITS = ('train', 'val', 'test')
_FILES = tuple(f'instances_{split}.json' for split in _SPLITS)


def convert_source(
    source: str | Path,
    out: str | Path,
    format: str | None = None,
    skip_bad: bool = False,
    val: float = 0.2,
    seed: int = 0,
) -> str:
    """Read an export, split it if it is not, and write COCO files to ``OUT/annotations``.

    Args:
        source: Folder of the export.
        out: Folder to write, outside of the source.
        format: A name in ``FORMATS``. Defaults to None, for the one that is found by looking.
        skip_bad: Leave out what can't be read, instead of raising an error. Defaults to False.
        val: Share of the images to evaluate on where the source has none, between 0 and 1. Defaults to 0.2.
        seed: Of that split. Defaults to 0.

    Returns:
        What was read, repaired and left out, and what to put in a config.

    Raises:
        UserError: If the source can't be read, or ``out`` holds another data set.

    Example:
        >>> from PIL import Image
        >>> Path('set').mkdir()
        >>> for name in 'ab':
        ...     Image.new('RGB', (40, 32)).save(f'set/{name}.png')
        ...     _ = Path(f'set/{name}.txt').write_text('0 .5 .5 .5 .5')
        >>> _ = Path('set/classes.txt').write_text('cat')
        >>> print(convert_source('set', 'coco').splitlines()[1])
        read: 2 images, 2 objects of 1 classes, 0 with masks
    """
    if not 0 < val < 1:
        raise UserError(f'--val must be a share between 0 and 1, but is {val}')
    folder = _checked(Path(source), Path(out))
    read = read_source(source, format, skip_bad)
    lines = _assign_splits(read, val, seed)
    info = dict(description='converted by mmfasternet', format=read.format, source=_digest(read.root))
    splits = {split: [image for image in read.images if image.split == split] for split in _SPLITS}
    with replacing(folder) as part:
        part.mkdir()
        for split, images in splits.items():
            if images:
                content = _coco(images, read.classes, info)
                (part / f'instances_{split}.json').write_text(json.dumps(content, allow_nan=False))
    read.notes.remarks += _overview(read)
    lines = [*read.notes.lines(), *lines, *_table(splits, read), *_config(splits, read, out)]
    return '\n'.join(lines)


def _checked(source: Path, out: Path) -> Path:
    """The folder to write, which holds nothing or an earlier conversion of the same source."""
    if out.resolve().is_relative_to(source.resolve()):
        raise UserError(f'{out} is in {source}, where it would be read as a part of it; choose a folder outside')
    folder = out / 'annotations'
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f'{folder} is not a folder; choose another --out')
    held = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    digest = _digest(source.resolve())
    for name in held:
        known = name in _FILES and as_dict(as_dict(read_annotations(folder / name)).get('info')).get('source') == digest
        if not known:
            raise UserError(f'{folder / name} was not made from {source}; choose another --out, or remove {folder}')
    return folder


def _digest(root: Path) -> str:
    return sha256(bytes(root)).hexdigest()[:16]


def _assign_splits(read: Source, val: float, seed: int) -> list[str]:
    """Give each image its split, and say how."""
    images = read.images
    scenes = find_scenes([image.path for image in images], [image.fingerprint for image in images])
    given = Counter(image.split for image in images if image.split)
    if given['train'] and given['val']:
        lines = ['split: as the source has it']
        _leave_out_unsplit(read)
    elif given['train']:
        lines = [f'split: the source has no images to evaluate on; {val:.0%} of those to train on are taken']
        _leave_out_unsplit(read)
        trained = [place for place, image in enumerate(images) if image.split == 'train']
        lines += _split(read, trained, scenes, val, seed)
    else:
        rest = [place for place, image in enumerate(images) if image.split != 'test']
        kept = ', except those to test on' if given['test'] and rest else ''
        lines = [f'split: the source does not say which images to train on; all are split by the seed {seed}{kept}']
        lines += _split(read, rest or list(range(len(images))), scenes, val, seed)
    read.images = [image for image in read.images if image.split]
    lost = shared_scenes(scenes, [image.split for image in images])
    if lost:
        shown = [', '.join(str(images[place].path) for place in places[:4]) for places in lost.values()]
        lines += [f'noticed: {len(lost)} scenes are in several splits, which flatters results', listing(shown)]
    return [printable(line) for line in lines]


def _leave_out_unsplit(read: Source) -> None:
    for image in read.images:
        if image.split is None:
            read.notes.leave_out('image of no split', image.path)


def _split(read: Source, places: list[int], scenes: list[int], val: float, seed: int) -> list[str]:
    labels = [[item.label for item in read.images[place].objects] for place in places]
    lines, own = [], [scenes[place] for place in places]
    largest = max(Counter(own).values())
    if largest > max(1, len(places) / 2):
        lines.append(f'noticed: {largest} images look alike, too many to keep together; they are split one by one')
        own = find_scenes([read.images[place].path for place in places], [None] * len(places))
    if len({*own}) < 2:
        raise UserError(
            f'{read.root} has a single scene, which cannot be split into images to train and to evaluate on'
        )
    chosen = choose_val(own, labels, val, seed)
    for number, place in enumerate(places):
        read.images[place].split = 'val' if number in chosen else 'train'
    copies = len(own) - len({*own})
    return lines + ([f'split: {copies} images are copies of others, and are on their side'] if copies else [])


def _coco(images: list[SourceImage], classes: list[str], info: dict) -> dict[str, Any]:
    numbers = {name: number for number, name in enumerate(classes, 1)}
    content = dict(info=info, images=[], annotations=[], categories=[])
    content['categories'] = [dict(id=number, name=name) for name, number in numbers.items()]
    for number, image in enumerate(images, 1):
        content['images'].append(
            dict(id=number, file_name=image.path.as_posix(), width=image.width, height=image.height)
        )
        for item in image.objects:
            content['annotations'].append(
                dict(
                    id=len(content['annotations']) + 1,
                    image_id=number,
                    category_id=numbers[item.label],
                    bbox=item.box,
                    area=item.area,
                    iscrowd=int(item.crowd),
                    segmentation=item.segmentation,
                )
            )
    return content


def _overview(read: Source) -> list[str]:
    objects = [item for image in read.images for item in image.objects]
    masks = sum(bool(item.segmentation) for item in objects)
    lines = [
        f'read: {len(read.images)} images, {len(objects)} objects of {len(read.classes)} classes, {masks} with masks'
    ]
    if 0 < masks < len(objects):
        lines.append(
            f'noticed: {len(objects) - masks} objects have no mask; a detector of masks needs one for every object'
        )
    return lines


def _table(splits: dict[str, list[SourceImage]], read: Source) -> list[str]:
    counts = {
        split: Counter(item.label for image in images for item in image.objects) for split, images in splits.items()
    }
    width = max(map(len, [*read.classes, 'images']))
    rows = [('', *_SPLITS), ('images', *(len(images) for images in splits.values()))]
    rows += [(name, *(counts[split][name] for split in _SPLITS)) for name in read.classes]
    return [f'{name:{width}} {train:>8} {val:>8} {test:>8}'.rstrip() for name, train, val, test in rows]


def _config(splits: dict[str, list[SourceImage]], read: Source, out: str | Path) -> list[str]:
    lines = ['in a config:', f'  data_root = {str(Path(out).resolve()) + "/"!r}']
    lines.append(f'  metainfo = dict(classes={tuple(read.classes)})')
    for split, images in splits.items():
        if images:
            lines.append(f'  {split}: ann_file={f"annotations/instances_{split}.json"!r}')
    return [*lines, f'  all: data_prefix=dict(img={str(read.root) + "/"!r})']
