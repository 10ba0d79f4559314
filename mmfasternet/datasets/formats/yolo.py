"""YOLO's text files, a line for each object: a box or a polygon in shares of the upright image."""

import math
import re
from pathlib import Path
from typing import Any

from mmfasternet.errors import UserError

from .files import SourceFiles, split_of
from .parse import as_dict, as_list, read_lines, read_yaml
from .source import Notes, Record, Shape, listing

__all__ = ['find_yolo', 'read_yolo']

_LISTS = ('train', 'val', 'test')
_NAMES = ('classes.txt', 'obj.names', '_darknet.labels', 'classes.names')


def find_yolo(files: SourceFiles) -> Path | None:
    """A file that shows that a source is YOLO's: a list of names, or labels beside an image.

    Args:
        files: The source.

    Returns:
        Its path below the source, or None.

    Example:
        >>> Path('set').mkdir()
        >>> _ = Path('set/data.yaml').write_text('names: [cat]')
        >>> find_yolo(SourceFiles(Path('set'), Notes()))
        PosixPath('data.yaml')
    """
    named = [path for path in files.ending('.yaml', '.yml') if 'names' in as_dict(_yaml(files.root / path))]
    if named:
        return named[0]
    # Other texts beside images are captions.
    return next((path for path in _label_files(files).values() if _has_numbers(files.root / path)), None)


def read_yolo(files: SourceFiles, notes: Notes) -> tuple[list[Record], list[str]]:
    """Read the label files of all images below a source.

    Args:
        files: The source.
        notes: What is repaired or left out is noted here.

    Returns:
        The images, and the classes in the order of their numbers.

    Raises:
        UserError: If the classes have no names, or the objects are keypoints or rotated boxes.
    """
    settings = _settings(files)
    if settings.get('kpt_shape') is not None:
        raise UserError(f'{files.root} holds keypoints (kpt_shape in its YAML), which are not read')
    names = _class_names(files, settings)
    labels, splits = _label_files(files), _splits(files, settings, notes)
    rows = {}
    for image, path in labels.items():
        try:
            rows[image] = [line.split() for line in read_lines(files.root / path)]
        except UserError as error:
            notes.bad.append(str(error))
    _refuse_others(files, rows, labels)
    records = []
    for image in files.images:
        if image in labels and image not in rows:
            continue  # listed as bad
        record = Record(str(image), image, [], None, splits.get(image) or split_of(image), shares=True)
        if not rows.get(image):
            notes.notice('image without a label file, or with an empty one: read as one without objects', image)
        for number, row in enumerate(rows.get(image, []), 1):
            if shape := _shape(row, names, f'{labels[image]}: line {number}', notes):
                record.shapes.append(shape)
        records.append(record)
    used = {*labels.values()}
    for path in files.ending('.txt'):
        if path not in used and path.parent.name.lower().startswith('label') and path.name.lower() not in _NAMES:
            notes.leave_out('label file without an image', path)
    return records, [names[number] for number in sorted(names)]


def _shape(row: list[str], names: dict[int, str], where: str, notes: Notes) -> Shape | None:
    try:
        number, *values = (float(word) for word in row)
    except ValueError:
        notes.leave_out('line that is not numbers', where)
        return None
    if not number.is_integer() or number not in names:
        notes.leave_out('object of a class number that has no name', f'{where}: class {row[0]}')
        return None
    label = names[int(number)]
    if not all(map(math.isfinite, values)) or max(map(abs, values), default=0) > 2:
        notes.leave_out('object whose coordinates are not shares of the width and the height, 0 to 1', where)
        return None
    if len(values) in (4, 5):
        if len(values) == 5:
            notes.leave_out('score at the end of a line, whose object is kept', where)
        x, y, width, height = values[:4]
        return Shape(label, where, [x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    if len(values) < 6:
        notes.leave_out('line that is neither a box nor a polygon', where)
        return None
    if len(values) % 2:
        if _are_keypoints(values):
            notes.leave_out('keypoints', where)
            return None
        notes.leave_out('score at the end of a line, whose object is kept', where)
        values.pop()
    return Shape(label, where, polygons=[values])


def _are_keypoints(values: list[float]) -> bool:
    """Whether a box is followed by triples of x, y and a visibility of 0, 1 or 2."""
    return len(values) > 4 and (len(values) - 4) % 3 == 0 and set(values[6::3]) <= {0, 1, 2}


def _refuse_others(files: SourceFiles, rows: dict[Path, list[list[str]]], labels: dict[Path, Path]) -> None:
    """Keypoints and rotated boxes look like polygons line by line, and not as a whole."""
    long = [(row, labels[image]) for image, lines in rows.items() for row in lines if len(row) > 6]
    if long and all(len(row) in (10, 9) and not _number(row[8]) for row, _ in long):
        raise UserError(f"{files.root / long[0][1]} holds rotated boxes in DOTA's form, which are not read")
    values = [numbers for row, _ in long if (numbers := _numbers(row[1:]))]
    if not values or len(values) < len(long):
        return
    if len({*map(len, values)}) == 1 and all(map(_are_keypoints, values)):
        raise UserError(f'{files.root / long[0][1]} holds keypoints, which are not read; export boxes or polygons')
    every = sum(map(len, rows.values()))
    are_rectangles = len(long) == every and all(len(row) == 9 for row, _ in long) and all(map(_is_rectangle, values))
    if are_rectangles and not all(map(_is_upright, values)):
        raise UserError(
            f'{files.root / long[0][1]} holds rotated boxes, four corners of a rectangle in every line, which are not '
            'read; export boxes or polygons'
        )


def _is_upright(values: list[float]) -> bool:
    """Whether four corners are those of a box."""
    return all(len({round(value, 3) for value in values[axis::2]}) == 2 for axis in (0, 1))


def _is_rectangle(values: list[float]) -> bool:
    """Whether four corners are a parallelogram, which a rectangle is in shares of any width and height."""
    xs, ys = values[::2], values[1::2]
    return all(abs(side[0] + side[2] - side[1] - side[3]) < 2e-3 for side in (xs, ys))


def _has_numbers(path: Path) -> bool:
    try:
        rows = [line.split() for line in read_lines(path)]
    except UserError:
        return False
    return bool(rows) and len(rows[0]) > 4 and all(map(_number, rows[0][:4]))


def _number(word: str) -> bool:
    return bool(re.fullmatch(r'[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?', word))


def _numbers(words: list[str]) -> list[float]:
    return [float(word) for word in words] if all(map(_number, words)) else []


def _label_files(files: SourceFiles) -> dict[Path, Path]:
    """Image → its label file: in the folder ``labels`` beside its ``images``, beside the image, or by name alone."""
    texts = {path.with_suffix(''): path for path in files.ending('.txt') if path.name.lower() not in _NAMES}
    by_stem: dict[str, list[Path]] = {}
    for path in texts.values():
        by_stem.setdefault(path.stem, []).append(path)
    images_by_stem: dict[str, int] = {}
    for image in files.images:
        images_by_stem[image.stem] = images_by_stem.get(image.stem, 0) + 1
    found = {}
    for image in files.images:
        parts = list(image.with_suffix('').parts)
        places = [index for index, part in enumerate(parts[:-1]) if part.lower() == 'images']
        for index in places[::-1]:
            beside = [Path(*parts[:index], name, *parts[index + 1 :]) for name in ('labels', 'Labels')]
            if path := next((texts[name] for name in beside if name in texts), None):
                found[image] = path
                break
        else:
            alone = by_stem.get(image.stem, [])
            if path := texts.get(image.with_suffix('')):
                found[image] = path
            elif len(alone) == 1 and images_by_stem[image.stem] == 1:
                found[image] = alone[0]
    return found


def _settings(files: SourceFiles) -> dict:
    found = [path for path in files.ending('.yaml', '.yml') if 'names' in as_dict(_yaml(files.root / path))]
    if len(found) > 1:
        raise UserError(f'{files.root} has {len(found)} files of class names; leave one of them:\n' + listing(found))
    return as_dict(_yaml(files.root / found[0])) if found else {}


def _yaml(path: Path) -> Any:
    try:
        return read_yaml(path)
    except UserError:
        return None


def _class_names(files: SourceFiles, settings: dict) -> dict[int, str]:
    """Number → name."""
    names = settings.get('names')
    if names is None:
        found = [path for path in files.ending('.txt', '.names', '.labels') if path.name.lower() in _NAMES]
        lists = {tuple(read_lines(files.root / path)) for path in found}
        if len(lists) != 1:
            for path in files.ending('.yaml', '.yml'):
                read_yaml(files.root / path)  # the names may be in one that can't be read
            raise UserError(
                f'{files.root} has {"no file" if not found else "several files"} with the names of its classes; '
                'write them, one a line, to classes.txt'
            )
        names = list(lists.pop())
    pairs = names.items() if isinstance(names, dict) else enumerate(as_list(names))
    numbered = {int(number): name for number, name in pairs if re.fullmatch(r'\d{1,9}', str(number))}
    if not numbered or len(numbered) < len(names) or not all(isinstance(name, str) for name in numbered.values()):
        raise UserError(f'the "names" in the YAML of {files.root} are neither a list of names nor numbers with a name')
    return numbered


def _splits(files: SourceFiles, settings: dict, notes: Notes) -> dict[Path, str]:
    """Image → split, as the YAML or lists of images tell; nothing if they tell none that can be found."""
    splits: dict[Path, str] = {}
    lists = {path.stem: path for path in files.ending('.txt') if path.stem in _LISTS}
    folders = {path.parent for path in files.images}
    for split in _LISTS:
        value = settings.get(split, settings.get('valid') if split == 'val' else None)
        for name in value if isinstance(value, list) else [value]:
            parts = [part for part in re.split(r'[\\/]', str(name or '')) if part not in ('', '.', '..')]
            for image in _below(folders, parts, files):
                if splits.setdefault(image, split) != split:
                    notes.leave_out(f'image of two splits, kept in {splits[image]}', image)
        if split in lists:
            for line in read_lines(files.root / lists[split]):
                image = files.find_image(line, lists[split].parent, split)
                if image is None:
                    notes.bad.append(f'{line}, which {lists[split]} lists, is not below the source')
                elif splits.setdefault(image, split) != split:
                    notes.leave_out(f'image of two splits, kept in {splits[image]}', image)
    return splits


def _below(folders: set[Path], parts: list[str], files: SourceFiles) -> list[Path]:
    """The images in the one folder whose path ends as another machine's path does."""
    for start in range(len(parts)):
        tail = tuple(parts[start:])
        if start and tail == ('images',):
            break  # the name of its split is not there
        bases = {
            Path(*folder.parts[: index + len(tail)])
            for folder in folders
            for index in range(len(folder.parts))
            if folder.parts[index : index + len(tail)] == tail
        }
        if len(bases) == 1:
            base = bases.pop()
            return [image for image in files.images if image.is_relative_to(base)]
        if bases:
            return []
    return []
