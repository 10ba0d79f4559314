"""What is read from an export: images with their objects, and notes of what was repaired or left out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmfasternet.errors import UserError, printable

__all__ = ['LINK', 'LabelledImage', 'Notes', 'Record', 'Shape', 'Source', 'SourceImage', 'SourceObject', 'listing']

_EXAMPLES = 10
# Also said where something is missing.
LINK = 'link that leads out of the source'


@dataclass
class Shape:
    """An object as its file has it, in the frame and in the unit of its :class:`Record`.

    Args:
        label: Name of the class.
        where: The file and the place in it, for messages.
        box: x and y of two opposite corners. Defaults to None, for a box around the mask.
        polygons: x, y, x, y, … of each. Defaults to none.
        mask: Draws the mask in a frame of a width and a height, as bool (H, W), or raises a ValueError. Defaults to
            None.
        crowd: Whether it stands for several objects that are not told apart. Defaults to False.
    """

    label: str
    where: str
    box: list | None = None
    polygons: list[list] = field(default_factory=list)
    mask: Callable[[int, int], np.ndarray] | None = None
    crowd: bool = False


@dataclass
class Record:
    """An image as its annotations name it.

    Args:
        name: The image's name in the annotations, for messages.
        path: Where it was found, below the source; None if it is missing.
        shapes: Its objects.
        size: Width and height that the annotations state. Defaults to None.
        split: train, val, test or None. Defaults to None.
        shares: Whether coordinates are shares of the width and the height, rather than pixels. Defaults to False.
    """

    name: str
    path: Path | None
    shapes: list[Shape]
    size: tuple[int, int] | None = None
    split: str | None = None
    shares: bool = False


@dataclass
class SourceObject:
    """An object in the upright frame of its image.

    Args:
        label: Name of the class.
        box: x, y, width and height in pixels.
        area: Pixels of the mask, or of the box where there is no mask.
        segmentation: Polygons or RLE, as COCO has them; empty without a mask.
        crowd: Whether it stands for several objects.
    """

    label: str
    box: list[float]
    area: float
    segmentation: list[list[float]] | dict[str, Any]
    crowd: bool


@dataclass
class SourceImage:
    """An image that can be read.

    Args:
        path: The file, relative to the source.
        width: Of the upright image, in pixels.
        height: Of the upright image, in pixels.
        split: train, val, test or None.
        objects: What it shows.
        fingerprint: 256 bits of a coarse copy of its pixels, bool (256,); None of an image that is too large.
        scene: A number that copies of the image share, once all images are known. Defaults to None.
    """

    path: Path
    width: int
    height: int
    split: str | None
    objects: list[SourceObject]
    fingerprint: np.ndarray | None
    scene: int | None = None

    @property
    def labels(self) -> list[str]:
        """The class of each object."""
        return [item.label for item in self.objects]


@dataclass
class LabelledImage:
    """An image with classes and without objects, that can be read.

    Args:
        path: The file, relative to the source.
        width: Of the upright image, in pixels.
        height: Of the upright image, in pixels.
        split: train, val, test or None.
        labels: Names of the classes: of the image, or of its semantic map.
        fingerprint: See :class:`SourceImage`.
        scene: See :class:`SourceImage`. Defaults to None.
        pixels: How many of its semantic map each class has, and last how many are ignored, int (classes + 1,), once the
            map is written. Defaults to None.
    """

    path: Path
    width: int
    height: int
    split: str | None
    labels: list[str]
    fingerprint: np.ndarray | None
    scene: int | None = None
    pixels: np.ndarray | None = None


class Notes:
    """What a user is told of a source: kinds of repairs, of losses and of other remarks, each with its places."""

    def __init__(self) -> None:
        self.remarks: list[str] = []
        self.repaired: dict[str, list[str]] = {}
        self.left_out: dict[str, list[str]] = {}
        self.noticed: dict[str, list[str]] = {}
        self.bad: list[str] = []

    def repair(self, kind: str, where: Any) -> None:
        """Note that something is read otherwise than it stands."""
        self.repaired.setdefault(kind, []).append(str(where))

    def leave_out(self, kind: str, where: Any) -> None:
        """Note that something is not read."""
        self.left_out.setdefault(kind, []).append(str(where))

    def notice(self, kind: str, where: Any) -> None:
        """Note something that is read as it stands, and that a user should know."""
        self.noticed.setdefault(kind, []).append(str(where))

    def refuse_bad(self) -> None:
        """Raise a UserError that lists the files that can't be used, if there are any."""
        if self.bad:
            raise UserError(
                f'{len(self.bad)} files cannot be used; repair them, or leave them out with --skip-bad:\n'
                + '\n'.join([listing(self.bad), *self.links()])
            )

    def links(self) -> list[str]:
        """The links that were not followed, as lines for a message about what is missing."""
        places = self.left_out.get(LINK, [])
        return [f'{len(places)} links lead out of the source and are not followed:', listing(places)] if places else []

    def lines(self) -> list[str]:
        """All of it, as lines for people.

        Example:
            >>> notes = Notes()
            >>> notes.leave_out('box without a size', 'a.xml, object 2')
            >>> print(*notes.lines(), sep='\\n')
            left out: 1 × box without a size
              a.xml, object 2
        """
        lines = list(self.remarks)
        for word, kinds in (('repaired', self.repaired), ('noticed', self.noticed), ('left out', self.left_out)):
            for kind, places in kinds.items():
                lines += [f'{word}: {len(places)} × {kind}', listing(places)]
        if self.bad:
            lines += [f'left out: {len(self.bad)} × file that cannot be used', listing(self.bad)]
        return [printable(line) for line in lines]


@dataclass
class Source:
    """An export that was read.

    Args:
        format: Its name in ``FORMATS``.
        root: Its folder.
        classes: Names of the classes, in the order of the source.
        images: What can be used.
        notes: What was repaired and left out.
    """

    format: str
    root: Path
    classes: list[str]
    images: list[SourceImage] | list[LabelledImage]
    notes: Notes


def listing(places: list) -> str:
    """At most ten places, one a line, and the number of the others.

    Args:
        places: Any number of texts or paths.

    Returns:
        Indented lines.

    Example:
        >>> print(listing(['a.xml', 'b.xml']))
          a.xml
          b.xml
    """
    lines = ['  ' + str(place).replace('\n', '\\n') for place in places[:_EXAMPLES]]
    if len(places) > _EXAMPLES:
        lines.append(f'  … and {len(places) - _EXAMPLES} more')
    return '\n'.join(lines)
