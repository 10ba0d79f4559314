"""Semantic maps: for each image an image with the number, or the colour, of the class of each pixel."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from mmfasternet.errors import UserError

from .class_list import find_class_list
from .coding import Coding, choose_coding
from .facts import look_at
from .files import SourceFiles, name_key, split_of
from .geometry import Frame
from .map_files import read_map, values_in
from .source import LabelledImage, Notes, Source
from .voc import read_lists

__all__ = ['MapSource', 'find_maps', 'read_maps']

_SPLIT = 'train|training|val|valid|validation|test|testing'
_IMAGES = re.compile(rf'(?:({_SPLIT})[_-]?)?(?:images?|imgs?|img_dir|jpegimages|leftimg8bit)(?:[_-]?({_SPLIT}))?')
_MAPS = re.compile(
    rf'(?:({_SPLIT})[_-]?)?(?:masks?|labels?|annot|annotations?|ann_dir|semantic|gt|segmentationclass(?:png|raw|aug)?)'
    rf'(?:[_-]?({_SPLIT}))?'
)
# Endings that maps add to the name of their image.
_ENDING = re.compile(r'[_-](l|p|masks?|labels?|seg|gt)$')


class MapSource(Source):
    """Images with semantic maps.

    Args:
        source: What every source has; the labels of an image are the classes in its map.
        maps: Image → its map, both below the source, and EXIF's number of the turn that the map needs.
        coding: What the values in the maps mean.
    """

    def __init__(self, source: Source, maps: dict[Path, tuple[Path, int]], coding: Coding) -> None:
        super().__init__(source.format, source.root, source.classes, source.images, source.notes)
        self._maps, self._coding = maps, coding

    def labels_of(self, image: Path) -> np.ndarray:
        """The number of the class of each pixel of the upright image, uint8 (H, W); 255 is ignored."""
        path, orientation = self._maps[image]
        labels = self._coding.labels(read_map(self.root / path))
        return np.ascontiguousarray(Frame(labels.shape[::-1], orientation).mask(labels))


def find_maps(files: SourceFiles) -> dict[Path, Path]:
    """The images that have a semantic map: in a folder of maps, at the place that the image has in one of images.

    Args:
        files: The source.

    Returns:
        Image → its map.

    Example:
        >>> for name in ('set/images/train/a.jpg', 'set/masks/train/a.png', 'set/val/b.jpg', 'set/valannot/b_L.png'):
        ...     Path(name).parent.mkdir(parents=True, exist_ok=True)
        ...     Path(name).touch()
        >>> for image, found in find_maps(SourceFiles(Path('set'), Notes())).items():
        ...     print(image, found)
        images/train/a.jpg masks/train/a.png
        val/b.jpg valannot/b_L.png
    """
    images, maps = _sort(files)
    return {
        paths[0]: maps[place][0] for place, paths in images.items() if len(paths) == 1 and len(maps.get(place, ())) == 1
    }


def read_maps(files: SourceFiles, notes: Notes, names: dict[int, str] | None = None) -> MapSource:
    """Read all semantic maps below a source.

    Args:
        files: The source.
        notes: What is left out is noted here.
        names: Value in the maps → name of its class, or 'ignore'. Defaults to None, for those of the source.

    Returns:
        The images and their maps.

    Raises:
        UserError: If nothing says what the values in the maps mean, see :func:`choose_coding`.
    """
    paired = find_maps(files)
    for path, mapped in list(paired.items())[:1]:
        notes.remarks.append(f'format: semantic maps, as {mapped} of {path}')
    _note_unpaired(files, notes)
    splits = read_lists(files, notes, 'Segmentation')
    images, maps, seen = [], {}, {}
    for path, mapped in paired.items():
        try:
            facts, values = look_at(files.root / path), values_in(files.root / mapped)
        except UserError as error:
            notes.bad.append(str(error))
            continue
        if values.size not in (facts.upright, facts.stored):
            width, height = facts.upright
            notes.bad.append(f'{mapped}: has {" × ".join(map(str, values.size))} pixels, its image {width} × {height}')
            continue
        if facts.orientation != 1 and values.size == facts.upright:
            notes.notice('image that its EXIF data turns: its map is taken as of the upright image', path)
        # A map of the stored image is turned with it.
        maps[path] = mapped, 1 if values.size == facts.upright else facts.orientation
        split = splits.get(path.stem) if splits else split_of(path)
        images.append(LabelledImage(path, *facts.upright, split, [], facts.fingerprint))
        seen[mapped] = values
    if not seen:
        raise UserError('\n'.join([f'{files.root} has no semantic map that can be read', *notes.lines()]))
    coding = choose_coding(seen, find_class_list(files), names, files.root, notes)
    for image in images:
        image.labels = coding.names_in(seen[maps[image.path][0]])
    return MapSource(Source('maps', files.root, coding.classes, images, notes), maps, coding)


def _note_unpaired(files: SourceFiles, notes: Notes) -> None:
    images, maps = _sort(files)
    for place, paths in images.items():
        if place not in maps:
            for path in paths:
                notes.leave_out('image without a semantic map', path)
    for place, paths in maps.items():
        if place not in images:
            for path in paths:
                notes.leave_out('semantic map without an image', path)
        elif len(images[place]) > 1:
            named = ' and '.join(map(str, images[place][:2]))
            notes.bad.append(f'{paths[0]}: {len(images[place])} images fit equally well, such as {named}')
        elif len(paths) > 1:
            notes.bad.append(f'{images[place][0]}: {len(paths)} semantic maps fit equally well, such as {paths[0]}')


def _sort(files: SourceFiles) -> tuple[dict[tuple, list[Path]], dict[tuple, list[Path]]]:
    """Images and maps by their places: the folders and the name that both share."""
    images, others, maps = defaultdict(list), defaultdict(list), defaultdict(list)
    for path in files.images:
        (is_map, place), stem = _place(path), name_key(path.stem)
        if is_map:
            maps[place, stem].append(path)
        else:
            others[place, stem].append(path)
    for (place, stem), paths in others.items():
        short = _ENDING.sub('', stem)
        if short != stem and (place, short) in others and (place, short) not in maps:
            maps[place, short] += paths  # beside its image
        else:
            images[place, stem] += paths
    for place, stem in list(maps):
        short = _ENDING.sub('', stem)
        if (place, stem) not in images and (place, short) in images:
            maps[place, short] += maps.pop((place, stem))
    return images, maps


def _place(path: Path) -> tuple[bool, tuple[str, ...]]:
    """Whether a file is in a folder of maps, and its folders without those of images and maps."""
    is_map, place = False, []
    for part in path.parts[:-1]:
        if found := _MAPS.fullmatch(part.lower()):
            is_map = True
        else:
            found = _IMAGES.fullmatch(part.lower())
        place += [word for word in found.groups() if word] if found else [name_key(part)]
    return is_map, tuple(place)
