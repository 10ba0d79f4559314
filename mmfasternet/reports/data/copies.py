"""Images that are copies of others: counted, listed and shown."""

from collections.abc import Callable

import numpy as np

from mmfasternet.datasets.formats import LabelledImage, SourceImage
from mmfasternet.reports.outlines import OutlinedImage
from mmfasternet.reports.page import Bullets, Gallery

from .samples import readable, unreadable
from .words import listed

__all__ = ['advise_copies', 'scenes_of', 'show_copies']

# Scenes that are listed, and that are shown, and images of each.
_LISTED, _SCENES, _OF_SCENE = 10, 3, 3

_Image = SourceImage | LabelledImage


def scenes_of(images: list[_Image]) -> np.ndarray:
    """A number for each image, which copies share.

    Args:
        images: Of a source.

    Returns:
        int (M,).
    """
    return np.array([place if image.scene is None else image.scene for place, image in enumerate(images)], int)


def advise_copies(scenes: np.ndarray, splits: np.ndarray) -> list[str]:
    """Warn of copies in several splits.

    Args:
        scenes: Of each image, from :func:`scenes_of`.
        splits: Of each image, any numbers.

    Returns:
        A text, or none where there are no such copies.

    Example:
        >>> advise_copies(np.array([0, 0, 2]), np.array([0, 1, 1]))
        ['Scenes that several splits share: 1. Results on them are better than on new images.']
    """
    pairs = np.unique(np.stack([scenes, splits]), axis=1)
    shared = int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())
    return (
        [f'Scenes that several splits share: {shared}. Results on them are better than on new images.']
        if shared
        else []
    )


def show_copies(images: list[_Image], show: Callable[[_Image], OutlinedImage]) -> list[str | Bullets | Gallery]:
    """List and show the images that are copies of others, those in several splits first of all.

    Args:
        images: Of a source.
        show: Makes what is shown of an image.

    Returns:
        Parts of a page; what can't be read is skipped and said.
    """
    members: dict[int, list[_Image]] = {}
    for image, scene in zip(images, scenes_of(images).tolist(), strict=True):
        members.setdefault(scene, []).append(image)
    groups = [same for same in members.values() if len(same) > 1]
    if not groups:
        return ['No two images look alike.']
    across = [same for same in groups if len({image.split for image in same}) > 1]
    parts = [
        f'Images that look like others: {sum(map(len, groups)):,}, of {len(groups):,} scenes. '
        f'Scenes in several splits: {len(across):,}. Copies of another size or quality look alike, and Roboflow’s '
        'versions of an image count as copies.'
    ]
    shown = across or groups
    items = [f'{", ".join(sorted({image.split for image in same}))}: {_files(same)}' for same in shown[:_LISTED]]
    if len(shown) > _LISTED:
        items.append(f'… and {len(shown) - _LISTED:,} more')
    faults: list[str] = []
    for same in shown[: _SCENES if across else 1]:
        # One image of each split, and then others.
        firsts = {image.split: image for image in same[::-1]}.values()
        some = [*firsts, *(image for image in same if all(image is not first for first in firsts))][:_OF_SCENE]
        if drawn := readable([lambda image=image: show(image) for image in some], faults):
            parts.append(Gallery(drawn))
    return [*parts, Bullets(items), *unreadable(faults)]


def _files(images: list[_Image]) -> str:
    return listed(image.path.as_posix() for image in images)
