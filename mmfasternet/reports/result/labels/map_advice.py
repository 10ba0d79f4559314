"""What would raise a segmentor's mIoU: sentences that follow from the figures of a result by fixed rules."""

import numpy as np

from mmfasternet.reports.outlines import shorten

from .confused import weak_classes
from .map_result import MapResult, ious

__all__ = ['advise_on_maps']

_SENTENCES = 3
# The least mIoU that a sentence must be worth, and that a segmentor must have gained on a guess.
_LEAST, _NOTHING = 0.005, 0.02
_FEW = 5  # images, of which an IoU is uncertain


def advise_on_maps(result: MapResult) -> list[str]:
    """Say what would raise the mIoU most.

    Args:
        result: The figures.

    Returns:
        One to three sentences, that of the largest gain first.

    Example:
        >>> same = np.tile(np.repeat(np.arange(2, dtype=np.uint8), 50), (100, 1))
        >>> from .map_result import compute_map_result
        >>> advise_on_maps(compute_map_result(['a', 'b'], [(same, same)]))
        ['No kind of error costs more than 0.5 points of mIoU; there is nothing to advise.']
    """
    if (result.images > 0).sum() > 1 and result.miou < _guessed_miou(result) + _NOTHING:
        return [_nothing_learned(result)]
    rules = (_border, _missed, _background, _confusion, _weak_classes)
    found = [advice for rule in rules if (advice := rule(result)) and advice[0] >= _LEAST]
    if not found:
        return [f'No kind of error costs more than {100 * _LEAST:.1f} points of mIoU; there is nothing to advise.']
    return [sentence for _, sentence in sorted(found, key=lambda advice: -advice[0])[:_SENTENCES]]


def _guessed_miou(result: MapResult) -> float:
    """The mIoU of whoever says the most frequent class of every pixel."""
    true = result.confusion.sum(1)
    guess = np.zeros_like(result.confusion)
    guess[:, true.argmax()] = true
    return float(np.nanmean(ious(guess)))


def _nothing_learned(result: MapResult) -> str:
    found = result.confusion.sum(0)
    most = int(found.argmax())
    return (
        f'The mIoU of {100 * result.miou:.1f} is hardly that of saying one class of every pixel; '
        f'{found[most] / found.sum():.0%} are predicted as {_name(result, most)}. The segmentor has learned next to '
        'nothing: likely reasons are too few iterations, or a learning rate that is too low or too high; see whether '
        'the loss falls.'
    )


def _cost(value: float) -> str:
    return f'{100 * value:.1f} points of mIoU'


def _border(result: MapResult) -> tuple[float, str]:
    cost = result.cost(result.kinds['border'])
    return cost, (
        f'Borders between classes that are predicted a little beside the true ones cost {_cost(cost)}: raise '
        'image_size in the config, train longer, and check that the maps follow what is seen there.'
    )


def _missed(result: MapResult) -> tuple[float, str] | None:
    missed = result.kinds.get('missed')
    if missed is None or not missed.any():
        return None
    cost, worst = result.cost(missed), int(missed.sum(1).argmax())
    share = missed[worst].sum() / result.confusion[worst].sum()
    return cost, (
        f'What is taken for background costs {_cost(cost)}, most of all of {_name(result, worst)}, of whose pixels '
        f'{share:.0%} are missed so: train longer, with more images of it, or with a higher class_weight.'
    )


def _background(result: MapResult) -> tuple[float, str] | None:
    invented = result.kinds.get('background')
    if invented is None or not invented.any():
        return None
    cost, worst = result.cost(invented), int(invented.sum(0).argmax())
    return cost, (
        f'Background that is taken for a class costs {_cost(cost)}, most of all as {_name(result, worst)}: see below '
        'whether the maps lack something there. If not, train with more images that show such background.'
    )


def _confusion(result: MapResult) -> tuple[float, str] | None:
    wrong = result.kinds['confusion']
    both_ways = np.triu(wrong + wrong.T)
    if not both_ways.any():
        return None
    cost = result.cost(wrong)
    one, other = (int(place) for place in np.unravel_index(both_ways.argmax(), both_ways.shape))
    share = both_ways[one, other] / both_ways.sum()
    return cost, (
        f'Pixels that are taken for another class cost {_cost(cost)}, and {share:.0%} of them lie between '
        f'{_name(result, one)} and {_name(result, other)}: check the maps of these two, and add images of both.'
    )


def _weak_classes(result: MapResult) -> tuple[float, str] | None:
    iou, present = result.iou, result.images > 0
    weak, others = weak_classes(iou, present)
    if not weak:
        return None
    gain, worst = float((others - iou[weak]).sum()) / int(present.sum()), weak[:3]
    shares = result.confusion.sum(1) / result.confusion.sum()
    named = ', '.join(
        f'{_name(result, label)} ({100 * iou[label]:.1f}; {result.images[label]} images, {shares[label]:.1%} of the '
        'pixels)'
        for label in worst
    )
    more = f' and {len(weak) - len(worst)} more' * (len(weak) > len(worst))
    unsure = '; the IoU of so few images is uncertain, too' * bool(min(result.images[worst]) < _FEW)
    return gain, (
        f'{named}{more}: a low IoU, where the other classes have {100 * others:.1f} on average. Add images '
        f'of them{unsure}.'
    )


def _name(result: MapResult, label: int) -> str:
    return f'“{shorten(result.classes[label], 40)}”'
