"""From an export to a COCO data set that refers to the images where they lie."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from mmfasternet.datasets.annotations import read_annotations
from mmfasternet.files import replacing

from .output import digest, own_folder
from .parse import as_dict
from .read import read_source
from .source import Source, SourceImage
from .splitting import SPLITS, assign_splits, by_split, check_share, count_classes

__all__ = ['Conversion', 'convert_source']

_FILES = tuple(f'instances_{split}.json' for split in SPLITS)


class Conversion(NamedTuple):
    """What came of an export.

    Attributes:
        text: What was read, repaired and left out; of an export with objects also what to put in a config.
        source: The images that were written, each with its split.
    """

    text: str
    source: Source


def convert_source(
    source: str | Path,
    out: str | Path,
    format: str | None = None,
    skip_bad: bool = False,
    val: float = 0.2,
    seed: int = 0,
) -> Conversion:
    """Read an export, split it if it is not, and write COCO files to ``OUT/annotations``.

    Args:
        source: Folder of the export.
        out: Folder to write, outside of the source.
        format: A name in ``FORMATS``. Defaults to None, for the one that is found by looking.
        skip_bad: Leave out what can't be read, instead of raising an error. Defaults to False.
        val: Share of the images to evaluate on where the source has none, between 0 and 1. Defaults to 0.2.
        seed: Of that split. Defaults to 0.

    Returns:
        What was written, and what is to be said of it.

    Raises:
        UserError: If the source can't be read, or ``out`` holds another data set.

    Example:
        >>> from PIL import Image
        >>> Path('set').mkdir()
        >>> for name in 'ab':
        ...     Image.new('RGB', (40, 32)).save(f'set/{name}.png')
        ...     _ = Path(f'set/{name}.txt').write_text('0 .5 .5 .5 .5')
        >>> _ = Path('set/classes.txt').write_text('cat')
        >>> print(convert_source('set', 'coco').text.splitlines()[1])
        read: 2 images, 2 objects of 1 classes, 0 with masks
    """
    check_share(val)
    folder = own_folder(Path(source), Path(out), 'annotations', _digest_in)
    read = read_source(source, format, skip_bad)
    lines = assign_splits(read, val, seed)
    info = dict(description='converted by mmfasternet', format=read.format, source=digest(read.root))
    splits = by_split(read)
    with replacing(folder) as part:
        part.mkdir()
        for split, images in splits.items():
            if images:
                content = _coco(images, read.classes, info)
                (part / f'instances_{split}.json').write_text(json.dumps(content, allow_nan=False))
    read.notes.remarks += _overview(read)
    lines = [*read.notes.lines(), *lines, *count_classes(splits, read.classes), *_config(splits, read, out)]
    return Conversion('\n'.join(lines), read)


def _digest_in(path: Path) -> str | None:
    """The digest of the source that a file was made from."""
    return as_dict(as_dict(read_annotations(path)).get('info')).get('source') if path.name in _FILES else None


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


def _config(splits: dict[str, list[SourceImage]], read: Source, out: str | Path) -> list[str]:
    lines = ['in a config:', f'  data_root = {str(Path(out).resolve()) + "/"!r}']
    lines.append(f'  metainfo = dict(classes={tuple(read.classes)})')
    for split, images in splits.items():
        if images:
            lines.append(f'  {split}: ann_file={f"annotations/instances_{split}.json"!r}')
    return [*lines, f'  all: data_prefix=dict(img={str(read.root) + "/"!r})']
