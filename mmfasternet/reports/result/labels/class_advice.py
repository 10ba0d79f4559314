"""What would raise a classifier's accuracy: sentences that follow from the figures of a result by fixed rules."""

import numpy as np

from mmfasternet.reports.outlines import shorten
from mmfasternet.reports.result.calibration import calibration_error

from .class_result import ClassResult, likely_range
from .confused import weak_classes

__all__ = ['advise_on_classes']

_SENTENCES = 3
# What a classifier must have gained on a guess.
_NOTHING = 0.02
# A score of a confident answer, and how many of the mistakes must be confident to be a matter.
_SURE, _OFTEN = 0.9, 0.1
# An error of the scores that matters, and images from which it can be told.
_OFF, _ENOUGH = 0.1, 100
_WIDE = 0.1  # of the range in which the accuracy probably is


def advise_on_classes(result: ClassResult) -> list[str]:
    """Say what would raise the accuracy most.

    Args:
        result: The figures.

    Returns:
        One to three sentences, that of the largest gain first.
    """
    present, recall = int((result.confusion.sum(1) > 0).sum()), np.nanmean(result.recall)
    if present > 1 and recall < 1 / present + _NOTHING:
        found = np.bincount(result.found)
        most = int(found.argmax())
        return [
            f'A mean recall of {recall:.0%} is hardly that of always giving the same class, {1 / present:.0%}; '
            f'{found[most] / found.sum():.0%} of the images are taken for {_name(result, most)}. The classifier has '
            'learned next to nothing: likely reasons are too few iterations, or a learning rate that is too low or too '
            'high; see whether the loss falls.'
        ]
    rules = (_confusion, _weak_classes, _sure, _scores, _few)
    found = [advice for rule in rules if (advice := rule(result))]
    if not found:
        return ['Nothing is wrong often enough to advise anything.']
    return [sentence for _, sentence in sorted(found, key=lambda advice: -advice[0])[:_SENTENCES]]


def _confusion(result: ClassResult) -> tuple[float, str] | None:
    both_ways = np.triu(result.confusion + result.confusion.T, 1)
    count, wrong = int(both_ways.max(initial=0)), int((~result.right).sum())
    if count < 2:
        return None
    one, other = (int(place) for place in np.unravel_index(both_ways.argmax(), both_ways.shape))
    return count / len(result.right), (
        f'{count} of {wrong} mistakes are between {_name(result, one)} and {_name(result, other)}: check the labels of '
        'these, and add images of both that show what tells them apart.'
    )


def _weak_classes(result: ClassResult) -> tuple[float, str] | None:
    counts, recall = result.confusion.sum(1), result.recall
    weak, others = weak_classes(recall, counts > 0)
    if not weak:
        return None
    gain, worst = float(((others - recall[weak]) * counts[weak]).sum() / counts.sum()), weak[:3]
    named = ', '.join(f'{_name(result, label)} ({recall[label]:.0%} of {counts[label]} images)' for label in worst)
    more = f' and {len(weak) - len(worst)} more' * (len(weak) > len(worst))
    return gain, (
        f'The recall of {named}{more} is low, where the other classes have {others:.0%} on average: add images of them.'
    )


def _sure(result: ClassResult) -> tuple[float, str] | None:
    wrong = ~result.right
    sure = int((wrong & (result.score >= _SURE)).sum())
    if sure < max(2, _OFTEN * wrong.sum()):
        return None
    return sure / len(wrong), (
        f'{sure} of {wrong.sum()} mistakes have a score of {_SURE} or more: look at these below first. Either their '
        'labels are wrong, or they show what no image to train on does.'
    )


def _scores(result: ClassResult) -> tuple[float, str] | None:
    error = calibration_error(result.bins)
    if len(result.right) < _ENOUGH or error < _OFF:
        return None
    side = 'high' if result.score.mean() > result.accuracy else 'low'
    return 0.0, (
        f'Scores are {error:.2f} off the share that is right on average, mostly too {side}: do not take them for '
        'probabilities; choose a threshold by the table of scores.'
    )


def _few(result: ClassResult) -> tuple[float, str] | None:
    low, high = likely_range(result.accuracy, len(result.right))
    if high - low < _WIDE:
        return None
    return -1.0, (
        f'The accuracy of {result.accuracy:.0%} is that of {len(result.right)} images, so that it may be anything from '
        f'{low:.0%} to {high:.0%} on others like them: evaluate on more images before you compare trainings by it.'
    )


def _name(result: ClassResult, label: int) -> str:
    return f'“{shorten(result.truth.classes[label], 40)}”'
