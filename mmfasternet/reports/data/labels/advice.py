"""What the images of a data set with classes mean for a training on it."""

import numpy as np

from mmfasternet.datasets.formats import Source
from mmfasternet.datasets.palette import has_background
from mmfasternet.reports.data.copies import advise_copies
from mmfasternet.reports.data.words import count_of, listed, side_by_side

from .counts import percent
from .measures import LabelMeasures

__all__ = ['advise_classes', 'advise_maps']

# Images of a class below which there are few: to train on and to evaluate on, with a map and with one class.
_FEW_MAPS, _FEW_IMAGES = (10, 5), (20, 10)
# Images to train on below which a segmentor's results vary.
_FEWEST = 20
# A class with a smaller share of the pixels is rare; a class with so many times fewer images than another as well.
_RARE, _TIMES = 0.005, 10
# Share of pixels from which much is ignored, and IoU below which resizing loses a class.
_IGNORED, _LOST = 0.1, 0.8
# Images whose shorter side is so many times as long as what the classifier sees, or as the other side.
_LARGER, _LONGER = 4, 2


def advise_maps(
    source: Source, measured: LabelMeasures, ious: np.ndarray, image_size: tuple[int, int], weights: list[float] | None
) -> list[str]:
    """Say what a user should know before a segmentor is trained.

    Args:
        source: The data.
        measured: Its images.
        ious: What resizing alone leaves of each class.
        image_size: Upper limits of an image's longer and shorter side, to which it is resized, pixels.
        weights: Of the classes in the loss, if the config has some.

    Returns:
        One text for each matter, the most important first; none if nothing stands out.
    """
    return [
        *advise_copies(measured.scenes, measured.splits),
        *_classes(source.classes, measured, _FEW_MAPS, 'IoU'),
        *_lost(source.classes, ious, image_size),
        *_rare(source.classes, measured, weights),
        *_few_images(measured),
        *_ignored(measured),
        *_background_alone(source.classes, measured),
    ]


def advise_classes(source: Source, measured: LabelMeasures, side: int) -> list[str]:
    """Say what a user should know before a classifier is trained.

    Args:
        source: The data.
        measured: Its images.
        side: Of the square to which images are resized, pixels.

    Returns:
        One text for each matter, the most important first; none if nothing stands out.
    """
    return [
        *advise_copies(measured.scenes, measured.splits),
        *_contradictions(measured),
        *_classes(source.classes, measured, _FEW_IMAGES, 'recall'),
        *_uneven(source.classes, measured),
        *_shrunk(measured, side),
    ]


def _classes(classes: list[str], measured: LabelMeasures, few: tuple[int, int], metric: str) -> list[str]:
    lines = []
    for split, (word, least) in enumerate(zip(('train', 'evaluate'), few, strict=True)):
        counts = measured.counts[:, split]
        order = np.argsort(counts, kind='stable').tolist()
        if absent := [classes[kind] for kind in order if not counts[kind]]:
            effect = f', which have no {metric}' if word == 'evaluate' else ''
            lines.append(f'Classes without an image to {word} on{effect}: {listed(absent)}.')
        if some := [f'{classes[kind]} ({counts[kind]})' for kind in order if 0 < counts[kind] < least]:
            effect = f', whose {metric} says little' if word == 'evaluate' else ''
            lines.append(f'Classes with fewer than {least} images to {word} on{effect}: {listed(some)}.')
    return lines


def _lost(classes: list[str], ious: np.ndarray, image_size: tuple[int, int]) -> list[str]:
    lost = [kind for kind in np.argsort(ious).tolist() if ious[kind] < _LOST]
    if not lost:
        return []
    named = listed(f'{classes[kind]} ({ious[kind]:.0%})' for kind in lost)
    return [
        f'Resizing to {side_by_side(image_size)} pixels alone leaves an IoU of less than {_LOST:.0%} of {named}: what '
        'is thin or small disappears. Raise image_size in the config, or cut the images and their maps into parts.'
    ]


def _rare(classes: list[str], measured: LabelMeasures, weights: list[float] | None) -> list[str]:
    shares = measured.shares[:, 0]
    rare = [kind for kind in np.argsort(shares, kind='stable').tolist() if 0 < shares[kind] < _RARE]
    if not rare:
        return []
    named = listed(f'{classes[kind]} ({percent(float(shares[kind]))}%)' for kind in rare)
    does = ', and the loss of the config weighs the pixels of rare classes more' if weights else ''
    return [
        f'Classes with less than {_RARE:.1%} of the pixels to train on: {named}. They are learned last{does}; more '
        'images of them help most.'
    ]


def _few_images(measured: LabelMeasures) -> list[str]:
    count = int((measured.splits == 0).sum())
    few = f'Images to train on: {count}. With so few, results vary from training to training.'
    return [few] if count < _FEWEST else []


def _ignored(measured: LabelMeasures) -> list[str]:
    share = measured.pixels[:, -1].sum() / measured.pixels.sum()
    if share < _IGNORED:
        return []
    return [
        f'{share:.0%} of the pixels are ignored: nothing is learned from them, and what is predicted there does not '
        'count. See that no class is among them.'
    ]


def _background_alone(classes: list[str], measured: LabelMeasures) -> list[str]:
    if not has_background(classes):
        return []
    alone = int((measured.has[measured.splits == 0][:, 1:].sum(1) == 0).sum())
    return [f'Images to train on that have background alone: {alone}.'] if alone else []


def _contradictions(measured: LabelMeasures) -> list[str]:
    pairs = np.unique(np.stack([measured.scenes, measured.has.argmax(1)]), axis=1)
    scenes = int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())
    if not scenes:
        return []
    return [
        f'{count_of(scenes, "scene")} with images in the folders of several classes: where they are copies, one of the '
        'labels is wrong.'
    ]


def _uneven(classes: list[str], measured: LabelMeasures) -> list[str]:
    counts = measured.counts[:, 0]
    most = int(counts.argmax())
    rare = [kind for kind in np.argsort(counts, kind='stable').tolist() if 0 < counts[kind] * _TIMES <= counts[most]]
    if not rare:
        return []
    named = listed(f'{classes[kind]} ({counts[kind]:,})' for kind in rare)
    return [
        f'{classes[most]} has {counts[most]:,} images to train on, {_TIMES} times as many or more than {named}, which '
        'will be predicted too seldom: add images of these, or judge by the recall of each class, not by the accuracy.'
    ]


def _shrunk(measured: LabelMeasures, side: int) -> list[str]:
    shorter, longer = measured.shapes.min(1), measured.shapes.max(1)
    lines = []
    if np.median(shorter) >= _LARGER * side:
        lines.append(
            f'Half of the images have a shorter side of {np.median(shorter):.0f} pixels or more, and the classifier '
            f'sees them with {side}: if what tells the classes apart is small, raise side in the config, or cut it out.'
        )
    if (stretched := (longer > _LONGER * shorter).mean()) > 0.1:
        lines.append(
            f'{stretched:.0%} of the images are more than {_LONGER} times as long as they are wide or high, and are '
            'squeezed into squares: cut them, or pad them.'
        )
    return lines
