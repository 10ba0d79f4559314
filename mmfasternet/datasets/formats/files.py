"""The files below a source: found once by walking, and looked up by the names that annotations give them."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from mmfasternet.errors import UserError

from .source import LINK, Notes

__all__ = ['SourceFiles', 'name_key', 'split_of', 'split_of_file']

# Also those that OpenCV can't read, so that they are reported and not overlooked.
_IMAGES = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.dib', '.ppm', '.pgm', '.pbm', '.tif', '.tiff', '.webp'),
    *('.jp2', '.gif', '.avif', '.heic'),
)
_SPLITS = dict(train='train', training='train', val='val', valid='val', validation='val', test='test', testing='test')
_OTHER = 'images?|imgs?|img|labels?|annotations?|set|data|split'
_FOLDER = re.compile(rf'(?:(?:{_OTHER})[_-]?)?({"|".join(_SPLITS)})(?:[_-]?(?:{_OTHER}))?[_-]?\d*')


class SourceFiles:
    """The files below a folder. A path of another machine, or one with ``..``, is looked up and never followed.

    Args:
        root: The folder.
        notes: Links that lead out of the folder are noted here.

    Raises:
        UserError: If it is not a folder.

    Example:
        >>> Path('set/images').mkdir(parents=True)
        >>> Path('set/images/a.JPG').touch()
        >>> SourceFiles(Path('set'), Notes()).find_image('C:\\\\data\\\\images\\\\a.jpg').as_posix()
        'images/a.JPG'
    """

    def __init__(self, root: Path, notes: Notes) -> None:
        if not root.is_dir():
            raise UserError(f'{root} is not a folder; give the folder that holds the images and their annotations')
        self.root = root.resolve()
        if not _is_text(str(self.root)):
            raise UserError(f'the path {root} is not UTF-8, which OpenCV cannot open; rename the folder')
        self.notes = notes
        self.paths = sorted(self._walk())
        self._list_images(self.paths)

    def ending(self, *suffixes: str) -> list[Path]:
        """The files whose names end so, in any case, below the source."""
        return [path for path in self.paths if path.suffix.lower() in suffixes]

    def set_aside(self, paths: Iterable[Path]) -> None:
        """Take images that are part of the annotations, such as masks, from those that may be annotated."""
        aside = set(paths)
        self._list_images(path for path in self.images if path not in aside)

    def find_image(self, name: str, near: Path = Path(), split: str | None = None) -> Path | None:
        """Find the image that an annotation names.

        Args:
            name: Its name or path, of any machine, with or without its ending.
            near: Folder of the annotation; the nearest of several images of that name is taken. Defaults to the
                source.
            split: Of several images of that name, the one of this split is taken. Defaults to None.

        Returns:
            Its path below the source, or None if there is none, or two that fit equally well.
        """
        for spelled in (name, unquote(name)):
            parts = [part for part in re.split(r'[\\/]', spelled) if part not in ('', '.', '..')]
            if not parts:
                return None
            key = name_key(parts[-1])
            stem = name_key(PurePosixPath(parts[-1]).stem)
            found = self._by_name.get(key) or self._by_stem.get(key) or self._by_stem.get(stem)
            if found:
                best = _nearest(found, parts, near, split)
                if best and name_key(best.name) != key:
                    fault = 'no ending' if name_key(best.stem) == key else 'another ending'
                    self.notes.repair(f'name of an image with {fault}', f'{name}: {best}')
                return best
        return None

    def _list_images(self, paths: Iterable[Path]) -> None:
        self.images = [path for path in paths if path.suffix.lower() in _IMAGES]
        self._by_name, self._by_stem = defaultdict(list), defaultdict(list)
        for path in self.images:
            self._by_name[name_key(path.name)].append(path)
            self._by_stem[name_key(path.stem)].append(path)

    def _walk(self) -> list[Path]:
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith('.') and name != '__MACOSX')
            for name in [*names, *folders]:
                path = Path(folder, name)
                below = path.relative_to(self.root)
                if not _is_text(str(below)):
                    self.notes.leave_out('file whose name is not UTF-8, which OpenCV cannot open', below)
                elif path.is_symlink() and not path.resolve().is_relative_to(self.root):
                    self.notes.leave_out(LINK, below)
                elif not name.startswith('.') and path.is_file():
                    found.append(below)
        return found


def split_of(path: Path) -> str | None:
    """The split that a folder of a file tells. Names of images tell none: they may show trains.

    Args:
        path: Below a source.

    Returns:
        train, val, test or None.

    Example:
        >>> split_of(Path('valid/images/a.jpg')), split_of(Path('train2017/a.jpg')), split_of(Path('images/train.jpg'))
        ('val', 'train', None)
    """
    for folder in path.parts[-2::-1]:
        if found := _FOLDER.fullmatch(folder.lower()):
            return _SPLITS[found[1]]
    return None


def split_of_file(path: Path) -> str | None:
    """The split that the name of a file of many images' annotations, or one of its folders, tells.

    Args:
        path: Below a source.

    Returns:
        train, val, test or None.

    Example:
        >>> split_of_file(Path('annotations/instances_train2017.json'))
        'train'
    """
    found = {_SPLITS[word] for word in re.findall('[a-z]+', path.stem.lower()) if word in _SPLITS}
    return found.pop() if len(found) == 1 else split_of(path)


def _nearest(found: list[Path], parts: list[str], near: Path, split: str | None) -> Path | None:
    """The path that shares the most folders at its end with a name, then at its start with a folder."""

    def likeness(path: Path) -> tuple[int, bool, int, int, bool]:
        at_end, at_start = _common(path.parent.parts[::-1], parts[-2::-1]), _common(path.parts, near.parts)
        is_of_split = split is not None and split_of(path) == split
        return at_end, is_of_split, at_start, -len(path.parts), path.name == parts[-1]

    *others, best = sorted(found, key=likeness)
    return None if others and likeness(others[-1]) == likeness(best) else best


def _common(left: tuple[str, ...], right: list[str] | tuple[str, ...]) -> int:
    for count, (a, b) in enumerate(zip(left, right, strict=False)):
        if name_key(a) != name_key(b):
            return count
    return min(len(left), len(right))


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def name_key(name: str) -> str:
    """One spelling of a name: capitals, and the accents of macOS, differ between machines.

    Args:
        name: Of a file or a folder.

    Returns:
        The spelling.

    Example:
        >>> name_key('A.JPG')
        'a.jpg'
    """
    return unicodedata.normalize('NFC', name).casefold()
