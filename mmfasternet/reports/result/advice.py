"""What to do next: sentences that follow from the figures of a result by fixed rules."""

from collections.abc import Iterator

import numpy as np

from mmfasternet.reports.outlines import shorten

from .confusion import frequent_confusions
from .error_kinds import KINDS, missed_objects
from .result import Result

__all__ = ['advise']

_SENTENCES = 3
# AP50 below which the detector has learned nothing, and the least that a sentence must be worth.
_NOTHING, _LEAST = 0.02, 0.005
# A detector that has learned something has scores above these.
_LOW = (0.3, 0.5)
# Side in pixels below which an object is small, as COCO has it.
_SMALL = 32
# Below this lowest score, a file holds all that AP takes into account.
_CUT = 0.1
# A class is weak if its AP50 is below this share of the others', and rare if its number of objects is.
_WEAK, _RARE = 0.7, 0.5
# So many times oftener than others must small objects be missed for their size to be the reason.
_OFTENER = 1.5
_FEW = 10  # objects, of which an AP is uncertain


def advise(result: Result, image_size: tuple[int, int] | None = None) -> list[str]:
    """Say what would raise the AP most.

    Args:
        result: The figures.
        image_size: Upper limits in pixels of the longer and of the shorter side that images are resized to before the
            detector sees them. Defaults to None, where sizes of objects are those in the images.

    Returns:
        One to three sentences, that of the largest gain first.
    """
    if result.ap.ap50 < _NOTHING:
        return list(_nothing_learned(result))[:_SENTENCES]
    rules = (_confusions, _places, _duplicates, _background, _missed, _cut_off, _weak_classes)
    found = [advice for rule in rules if (advice := rule(result, image_size)) and advice[0] >= _LEAST]
    if not found:
        return [f'No kind of error costs more than {100 * _LEAST:.1f} points of AP50; there is nothing to advise.']
    return [sentence for _, sentence in sorted(found, key=lambda advice: -advice[0])[:_SENTENCES]]


def _nothing_learned(result: Result) -> Iterator[str]:
    highest, ap50 = result.matches.score.max(), f'{100 * result.ap.ap50:.1f}'
    shares = {kind: float((result.kinds[result.shown] == number).mean()) for number, kind in enumerate(KINDS)}
    for low in _LOW:
        if highest < low:
            yield (
                f'No score is above {low}; the highest was {highest:.2f}, and AP50 is {ap50}: the detector has learned '
                'next to nothing. Likely reasons are too few iterations, or a learning rate that is too low or too '
                'high; see whether the loss falls, and whether the detector can learn ten images by heart.'
            )
            return
    yield f'AP50 is {ap50}, though scores reach {highest:.2f}: what is detected does not match the truth.'
    if shares['classification'] > 0.5:
        yield (
            f'{shares["classification"]:.0%} of the detections lie on an object of another class: check that '
            'predictions and truth number the classes in the same way.'
        )
    beside = sum(shares[kind] for kind in ('background', 'localization', 'both'))
    if beside > 0.5:
        yield (
            f'{beside:.0%} of the detections lie beside the objects: check that their boxes are x, y, width and height '
            'in pixels of the original images, and that their image ids are those of the truth.'
        )


def _cost(value: float) -> str:
    return f'{100 * value:.1f} points of AP50'


def _confusions(result: Result, _: object) -> tuple[float, str] | None:
    pairs = frequent_confusions(result.confusion[:-1, :-1], len(result.counts) ** 2)
    if not pairs:
        return None
    both_ways: dict[tuple[int, int], int] = {}
    for row, column, count in pairs:
        pair = (min(row, column), max(row, column))
        both_ways[pair] = both_ways.get(pair, 0) + count
    total = sum(both_ways.values())
    (one, other), count = max(both_ways.items(), key=lambda item: item[1])
    names = f'{_name(result, one)} and {_name(result, other)}'
    cost = result.costs['classification']
    text = f'Wrong classes cost {_cost(cost)}'
    if count * 2 > total:
        return cost, f'{text}, and {count} of {total} confusions are between {names}: check the labels of these two.'
    often = f'; {names} are confused most often, {count} of {total} times' * (count > 1)
    return cost, f'{text}, spread over the classes{often}: check the labels, and add images of what is confused.'


def _places(result: Result, _: object) -> tuple[float, str]:
    cost = result.costs['localization']
    return cost, (
        f'Boxes that overlap their object too little, by an IoU of 0.1 to 0.5, cost {_cost(cost)}: train longer, and '
        'check that the boxes of the truth are tight.'
    )


def _duplicates(result: Result, _: object) -> tuple[float, str]:
    cost = result.costs['duplicate']
    return cost, (
        f'Second detections of the same object cost {_cost(cost)}: lower the IoU threshold of NMS, or show only scores '
        f'from {result.threshold:.2f} on.'
    )


def _background(result: Result, _: object) -> tuple[float, str]:
    cost, best = result.costs['background'], result.curve.best
    return cost, (
        f'Detections where there is no object cost {_cost(cost)}: see below whether the truth lacks them. If not, '
        f'train with images without objects as well, and show only scores from {result.threshold:.2f} on, where '
        f'{result.curve.precision[best]:.0%} are right and {result.curve.recall[best]:.0%} of the objects are found.'
    )


def _missed(result: Result, image_size: tuple[int, int] | None) -> tuple[float, str]:
    cost, truth, numbers = result.costs['missed'], result.truth, result.matches.object_number
    missed = missed_objects(result.matches, result.kinds)
    sides = np.sqrt(truth.area[numbers])
    where = 'in the image'
    if image_size:
        limits = np.sort(image_size) / np.sort(truth.sizes[truth.image[numbers]], axis=1)
        sides = sides * limits.min(1)
        where = f'after resizing to {image_size[0]} × {image_size[1]}'
    begin = f'{missed.sum()} of {len(missed)} objects are missed at every score, which costs {_cost(cost)}'
    small = sides < _SMALL
    if not missed.any() or small.all() or small[missed].mean() <= 0.5:
        return cost, f'{begin}: train longer, or with more images like those below.'
    of_small, of_others = missed[small].mean(), missed[~small].mean()
    if of_small < _OFTENER * of_others:
        return cost, f'{begin}, small ones hardly more often than others: train longer, or with more images.'
    return cost, (
        f'{begin}: {of_small:.0%} of those smaller than {_SMALL} × {_SMALL} pixels {where}, and {of_others:.0%} of the '
        'others. Train and test with a larger image size.'
    )


def _cut_off(result: Result, _: object) -> tuple[float, str] | None:
    lowest = result.matches.score.min()
    if lowest <= _CUT:
        return None
    # What it would give is not known; where objects are missed, they may be there.
    return result.costs['missed'] * 0.99, (
        f'The lowest score in the predictions is {lowest:.2f}, so that the detections below it are missing from AP: '
        'test with a lower score threshold, such as 0.05.'
    )


def _weak_classes(result: Result, _: object) -> tuple[float, str] | None:
    aps, counts = result.ap.by_class50, result.counts
    present = np.flatnonzero(counts)
    if len(present) < 2:
        return None
    weak = []
    for label in present.tolist():
        others = present[present != label]
        if aps[label] < _WEAK * aps[others].mean() and counts[label] < _RARE * counts[others].mean():
            weak.append(label)
    if not weak:
        return None
    rest = np.setdiff1d(present, weak)
    gain = float((aps[rest].mean() - aps[weak]).clip(0).sum()) / len(present)
    worst = sorted(weak, key=lambda label: aps[label])[:3]
    named = ', '.join(f'{_name(result, label)} ({counts[label]} objects, {100 * aps[label]:.1f})' for label in worst)
    more = f' and {len(weak) - len(worst)} more' * (len(weak) > len(worst))
    unsure = '; an AP of so few objects is uncertain, too' * bool(min(counts[worst]) < _FEW)
    return gain, (
        f'{named}{more}: few objects and a low AP50, where the other classes have {100 * aps[rest].mean():.1f} on '
        f'average. Add images of them{unsure}.'
    )


def _name(result: Result, label: int) -> str:
    return f'“{shorten(result.truth.classes[label], 40)}”'
