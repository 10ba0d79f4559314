"""Each image's split: the source's own, or one by a seed that keeps scenes together."""

from collections import Counter

from mmfasternet.datasets.splits import choose_val, find_scenes, shared_scenes
from mmfasternet.errors import UserError, printable

from .source import Source, listing

__all__ = ['SPLITS', 'assign_splits', 'by_split', 'check_share', 'count_classes']

SPLITS = ('train', 'val', 'test')


def check_share(val: float) -> None:
    """Make sure that a share of the images is one.

    Args:
        val: The share to evaluate on.

    Raises:
        UserError: If it is not between 0 and 1.

    Example:
        >>> check_share(0.2)
    """
    if not 0 < val < 1:
        raise UserError(f'--val must be a share between 0 and 1, but is {val}')


def assign_splits(read: Source, val: float, seed: int) -> list[str]:
    """Give each image its split; those of none are left out.

    Args:
        read: The source, which is changed.
        val: Share of the images to evaluate on where the source has none.
        seed: Of that split.

    Returns:
        How the split was found, as lines for people.

    Raises:
        UserError: If there is a single scene.
    """
    images = read.images
    scenes = find_scenes([image.path for image in images], [image.fingerprint for image in images])
    for image, scene in zip(images, scenes, strict=True):
        image.scene = scene
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
    labels = [read.images[place].labels for place in places]
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


def by_split(read: Source) -> dict[str, list]:
    """The images of each split.

    Args:
        read: The source, after :func:`assign_splits`.

    Returns:
        Split → its images, perhaps none.
    """
    return {split: [image for image in read.images if image.split == split] for split in SPLITS}


def count_classes(splits: dict[str, list], classes: list[str]) -> list[str]:
    """A table of how often each class occurs.

    Args:
        splits: Split → its images.
        classes: Names of the classes.

    Returns:
        Its lines: the images, and then each class.
    """
    counts = {split: Counter(label for image in images for label in image.labels) for split, images in splits.items()}
    width = max(map(len, [*classes, 'images']))
    rows = [('', *SPLITS), ('images', *(len(images) for images in splits.values()))]
    rows += [(name, *(counts[split][name] for split in SPLITS)) for name in classes]
    return [f'{name:{width}} {train:>8} {val:>8} {test:>8}'.rstrip() for name, train, val, test in rows]
