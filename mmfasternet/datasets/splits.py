"""Which images show the same scene, and a split that keeps scenes together and classes balanced."""

import random
import re
from collections import Counter
from pathlib import PurePath

import numpy as np

__all__ = ['choose_val', 'find_scenes', 'shared_scenes']

# Roboflow's versions of an image.
_VERSION = re.compile(r'(.+)\.rf\.\w+$')
# Of the bits of a fingerprint, as many may differ: in copies of another quality or size up to 13 do, in images of a
# camera that stands still 20 and more, in others 50 and more.
_BITS, _DIFFERENT = 256, 16
# Fewer than this many bits set: a blank image, which resembles every other.
_BLANK = 8
_CHUNK = 512


def find_scenes(paths: list[PurePath], fingerprints: list[np.ndarray | None]) -> list[int]:
    """Find the images that are copies of one another: by Roboflow's names, and by how their pixels look.

    Args:
        paths: The images.
        fingerprints: Of each, bool (256,), or None; see :class:`~mmfasternet.datasets.formats.SourceImage`.

    Returns:
        A number for each image, the same for images of the same scene.

    Example:
        >>> find_scenes([PurePath('a.rf.1.jpg'), PurePath('b.jpg'), PurePath('a.rf.2.jpg')], [None] * 3)
        [0, 1, 0]
    """
    parents = list(range(len(paths)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = parents[parents[index]]
        return index

    def join(one: int, other: int) -> None:
        low, high = sorted((root(one), root(other)))
        parents[high] = low

    first: dict[str | bytes, int] = {}
    for index, path in enumerate(paths):
        if version := _VERSION.match(path.stem):
            join(index, first.setdefault(version[1], index))
    distinct = []
    for index, bits in enumerate(fingerprints):
        if bits is None or not _BLANK <= bits.sum() <= _BITS - _BLANK:
            continue
        same = first.setdefault(bits.tobytes(), index)
        if same == index:
            distinct.append(index)
        join(index, same)
    # Products of -1 and 1 count the bits in which two fingerprints agree, less those in which they differ.
    signs = np.array([fingerprints[index] for index in distinct], np.float32).reshape(len(distinct), _BITS) * 2 - 1
    for start in range(0, len(distinct), _CHUNK):
        likeness = signs[start : start + _CHUNK] @ signs[: start + _CHUNK].T
        for one, other in np.argwhere(likeness >= _BITS - 2 * _DIFFERENT):
            join(distinct[start + one], distinct[other])
    return [root(index) for index in range(len(paths))]


def shared_scenes(scenes: list[int], splits: list[str | None]) -> dict[int, list[int]]:
    """The scenes that several splits have.

    Args:
        scenes: Of each image.
        splits: Of each image; images of no split don't count.

    Returns:
        Scene → the places of its images.

    Example:
        >>> shared_scenes([0, 1, 0], ['train', 'train', 'val'])
        {0: [0, 2]}
    """
    members: dict[int, list[int]] = {}
    for place, (scene, split) in enumerate(zip(scenes, splits, strict=True)):
        if split:
            members.setdefault(scene, []).append(place)
    return {scene: places for scene, places in members.items() if len({splits[place] for place in places}) > 1}


def choose_val(scenes: list[int], labels: list[list[str]], share: float, seed: int) -> set[int]:
    """Choose images to evaluate on: entire scenes, with nearly the same share of images and of each class.

    Args:
        scenes: Of each image.
        labels: Of each image, the class of each of its objects.
        share: Of the images, between 0 and 1.
        seed: The same seed chooses the same images.

    Returns:
        The places of the chosen images: at least one scene, and not all of them; none if there is a single scene.

    Example:
        >>> sorted(choose_val([0, 0, 1, 2, 3], [['cat'], ['cat'], ['cat'], ['dog'], ['dog']], 0.4, 0))
        [2, 4]
    """
    members: dict[int, list[int]] = {}
    for place, scene in enumerate(scenes):
        members.setdefault(scene, []).append(place)
    # None counts the images.
    counts = {scene: Counter([None] * len(places)) for scene, places in members.items()}
    for scene, places in members.items():
        for place in places:
            counts[scene].update(labels[place])
    total = sum(counts.values(), Counter())
    order = sorted(members)
    random.Random(seed).shuffle(order)
    # Rare classes first, while there is still a choice.
    order.sort(key=lambda scene: min(total[label] for label in counts[scene]))
    needs = [Counter({label: part * count for label, count in total.items()}) for part in (1 - share, share)]
    chosen = set()
    for scene in order:
        # The side that lacks more of the rarest class; then, of images (Sechidis and others, 2011).
        rarest = min(counts[scene], key=lambda label: (total[label], label is None, str(label)))
        is_val = max((0, 1), key=lambda side: (needs[side][rarest], needs[side][None]))
        needs[is_val].subtract(counts[scene])
        if is_val:
            chosen.add(scene)
    if not chosen and len(order) > 1:
        chosen.add(min(order, key=lambda scene: len(members[scene])))
    if len(chosen) == len(order):
        chosen.remove(order[0])
    return {place for scene in chosen for place in members[scene]}
