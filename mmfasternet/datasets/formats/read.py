"""An export of any format, found by looking, read into one form."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track

from mmfasternet.datasets.annotations import read_annotations
from mmfasternet.errors import UserError, printable

from .class_folders import look_for_class_folders
from .coco import is_coco, read_coco
from .cvat import is_cvat, read_cvat
from .facts import ImageFacts, look_at
from .files import SourceFiles
from .geometry import Frame, finish
from .labelme import is_labelme, read_labelme
from .maps import find_maps
from .masks import find_masks, read_masks
from .parse import read_xml
from .source import Notes, Record, Source, SourceImage, listing
from .via import is_via, read_via
from .voc import is_voc, read_voc
from .yolo import find_yolo, read_yolo

__all__ = ['FORMATS', 'LABELS', 'find_format', 'read_source']

# As many files as are opened to find the format.
_SAMPLES = 20
# The smallest side that FasterNet accepts, and that a training uses.
_SMALLEST = 32


class _Format(NamedTuple):
    title: str
    find: Callable[[SourceFiles, dict[Path, Any]], Path | None]
    read: Callable[[SourceFiles, Notes], tuple[list[Record], list[str]]]


def _holding(check: Callable[[Any], bool], suffix: str) -> Callable[[SourceFiles, dict[Path, Any]], Path | None]:
    """Finds a file whose content passes a check."""
    return lambda _, samples: next(
        (path for path, content in samples.items() if path.suffix.lower() == suffix and check(content)), None
    )


FORMATS = dict(
    coco=_Format("COCO's JSON", _holding(is_coco, '.json'), read_coco),
    voc=_Format("VOC's XML", _holding(is_voc, '.xml'), read_voc),
    yolo=_Format("YOLO's text files", lambda files, _: find_yolo(files), read_yolo),
    labelme=_Format("LabelMe's JSON", _holding(is_labelme, '.json'), read_labelme),
    via=_Format("VIA's JSON", _holding(is_via, '.json'), read_via),
    cvat=_Format("CVAT's XML", _holding(is_cvat, '.xml'), read_cvat),
    masks=_Format('a PNG for each object', lambda files, _: next(iter(find_masks(files)), None), read_masks),
)
#: Formats without objects, which are looked for where there are none of objects: title, and what finds them.
LABELS: dict[str, tuple[str, Callable[[SourceFiles], dict]]] = dict(
    maps=('semantic maps', find_maps), classes=('folders of classes', look_for_class_folders)
)


def find_format(path: str | Path, format: str | None = None) -> str:
    """The format of an export, found by looking.

    Args:
        path: The folder that holds images and annotations.
        format: The format that the user says, which is taken as it is. Defaults to None.

    Returns:
        A name in ``FORMATS`` or ``LABELS``.

    Raises:
        UserError: If no format or several fit.

    Example:
        >>> from PIL import Image
        >>> for name in ('cat', 'dog'):
        ...     Path('set', name).mkdir(parents=True)
        ...     Image.new('RGB', (40, 32)).save(f'set/{name}/1.png')
        >>> find_format('set')
        'classes'
    """
    return format or _look(SourceFiles(Path(path), Notes()))[0]


def read_source(path: str | Path, format: str | None = None, skip_bad: bool = False) -> Source:
    """Read an export of an annotation tool.

    Args:
        path: The folder that holds images and annotations.
        format: A name in ``FORMATS``. Defaults to None, for the one that is found by looking.
        skip_bad: Leave out what can't be read, instead of raising an error. Defaults to False.

    Returns:
        The images in their upright frame, with boxes and masks, and notes of what was repaired or left out.

    Raises:
        UserError: If no format or several fit, a file can't be read, or no object is left.

    Example:
        >>> from PIL import Image
        >>> Path('set').mkdir()
        >>> Image.new('RGB', (40, 20)).save('set/a.png')
        >>> _ = Path('set/a.txt').write_text('0 .5 .5 .5 .5')
        >>> _ = Path('set/classes.txt').write_text('cat')
        >>> source = read_source('set')
        >>> source.format, source.images[0].objects[0].box
        ('yolo', [10.0, 5.0, 20.0, 10.0])
    """
    notes = Notes()
    files = SourceFiles(Path(path), notes)
    if format is None:
        format, seen = _look(files)
        if format in LABELS:
            raise UserError(f'{files.root} holds {LABELS[format][0]}, as {seen}, and no objects')
        notes.remarks.append(f'format: {FORMATS[format].title}, as in {seen}')
        if mapped := find_maps(files):
            notes.remarks.append(f'it holds {len(mapped)} semantic maps too, which --format maps reads instead')
    elif format in FORMATS:
        notes.remarks.append(f'format: {FORMATS[format].title}, as you say')
    else:
        raise UserError(f'there is no format {format!r}; choose one of {", ".join(FORMATS)}')
    records, classes = FORMATS[format].read(files, notes)
    images = _complete(_once(records, notes), files, notes)
    if not skip_bad:
        notes.refuse_bad()
    if not any(image.objects for image in images):
        raise UserError('\n'.join([f'{files.root} has no object that can be read', *notes.lines()]))
    used = {item.label for image in images for item in image.objects}
    classes = [name for name in dict.fromkeys(map(_clean, classes)) if name]
    for name in classes:
        if name not in used:
            notes.leave_out('class without an object', name)
    return Source(format, files.root, [name for name in classes if name in used], images, notes)


def _look(files: SourceFiles) -> tuple[str, Path]:
    samples, faults = {}, []
    for suffix, parse in (('.json', read_annotations), ('.xml', read_xml)):
        paths = files.ending(suffix)
        by_size = sorted(paths, key=lambda path: (files.root / path).stat().st_size)
        for path in dict.fromkeys([*paths[: _SAMPLES // 2], *by_size[-_SAMPLES // 2 :]]):
            try:
                samples[path] = parse(files.root / path)
            except UserError as error:
                faults.append(str(error))
    found = {name: seen for name, kind in FORMATS.items() if (seen := kind.find(files, samples))}
    if len(found) > 1:
        held = [f'{name}: {FORMATS[name].title}, as in {seen}' for name, seen in found.items()]
        raise UserError(f'{files.root} holds several formats; choose one by --format:\n' + listing(held))
    if not found:
        found = {name: next(iter(seen)) for name, (_, find) in LABELS.items() if (seen := find(files))}
    if not found:
        raise UserError(
            f'{files.root} holds no annotations of a known format ({", ".join([*FORMATS, *LABELS])}); '
            f'it has {len(files.images)} images and {len(files.paths) - len(files.images)} other files'
            + ''.join(f'\n{line}' for line in [*([listing(faults)] if faults else []), *files.notes.links()])
        )
    return next(iter(found.items()))


def _once(records: list[Record], notes: Notes) -> dict[Path, Record]:
    """The images by their paths. One that is annotated twice is read once, first of all where a split is known."""
    found: dict[Path, Record] = {}
    for record in sorted(records, key=lambda record: record.split is None):
        if record.path is None:
            notes.bad.append(f'{record.name}: no such image below the source, or several that fit equally well')
        elif record.path in found:
            notes.leave_out('image that is annotated in two places, read from the first', record.name)
        else:
            found[record.path] = record
    return dict(sorted(found.items()))


def _complete(records: dict[Path, Record], files: SourceFiles, notes: Notes) -> list[SourceImage]:
    for path in files.images:
        if path not in records:
            notes.leave_out('image that no annotation names', path)
    images = []
    shown = track(records.items(), 'images', len(records), console=Console(stderr=True), transient=True)
    for path, record in shown:
        try:
            facts = look_at(files.root / path)
        except UserError as error:
            notes.bad.append(str(error))
            continue
        frame = _frame(record, facts, notes)
        if frame is None:
            continue
        if min(facts.upright) < _SMALLEST:
            notes.notice(f'image with a side below {_SMALLEST} pixels, which trainings leave out', path)
        if facts.deep:
            notes.notice('image of more than eight bits, of which OpenCV reads the upper eight', path)
        image = SourceImage(path, *facts.upright, record.split, [], facts.fingerprint)
        for shape in record.shapes:
            shape.label = _clean(shape.label)
            if not shape.label:
                notes.leave_out('object without a class', shape.where)
            elif item := finish(shape, frame, notes):
                image.objects.append(item)
        images.append(image)
    return images


def _frame(record: Record, facts: ImageFacts, notes: Notes) -> Frame | None:
    """The frame of the annotations: the stored pixels if the stated size is theirs alone, else the upright image."""
    if facts.orientation != 1:
        if record.size == facts.stored != facts.upright:
            notes.repair('image annotated as it is stored: turned upright, as its EXIF data says', record.path)
            return Frame(facts.stored, facts.orientation)
        notes.notice('image that its EXIF data turns: annotations are taken as of the upright image', record.path)
    if record.size not in (None, facts.upright):
        width, height = facts.upright
        notes.bad.append(
            f'{record.path}: annotated as an image of {record.size[0]} × {record.size[1]} pixels, but it has '
            f'{width} × {height}'
        )
        return None
    return Frame(facts.upright, 1, facts.upright if record.shares else (1, 1))


def _clean(name: str) -> str:
    return printable(' '.join(str(name).split()))
