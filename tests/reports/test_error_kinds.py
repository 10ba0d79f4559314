"""One error of each kind, made on purpose: what it is called, what it costs, and how it is counted."""

import numpy as np
import pytest
from helpers.results import CAT, DOG, coco, found, random_results, write

from mmfasternet.reports.result.detections import read_found
from mmfasternet.reports.result.error_kinds import KINDS, costs, error_kinds, missed_objects
from mmfasternet.reports.result.matches import match
from mmfasternet.reports.result.truth import read_truth

BOX = [0, 0, 40, 40]
OBJECTS = [(1, CAT, BOX), (1, DOG, [100, 0, 40, 40]), (2, CAT, BOX)]
PERFECT = [(*one, 0.9) for one in OBJECTS]
# Name of the error → detections, and which kinds they are.
CASES = {
    'none': (PERFECT, ['right', 'right', 'right']),
    'wrong class': ([*PERFECT[:2], (2, DOG, BOX, 0.95)], ['right', 'right', 'classification']),
    'wrong place': ([*PERFECT[:2], (2, CAT, [25, 0, 40, 40], 0.8)], ['right', 'right', 'localization']),
    'both': ([*PERFECT, (1, CAT, [125, 0, 40, 40], 0.95)], ['both', 'right', 'right', 'right']),
    'duplicate': ([*PERFECT, (1, CAT, [2, 0, 40, 40], 0.85)], ['right', 'right', 'duplicate', 'right']),
    'background': ([*PERFECT, (2, CAT, [100, 50, 40, 40], 0.95)], ['right', 'right', 'background', 'right']),
}

# Of the random boxes below; the first number is of what is right, which tidecv does not count.
TIDECV_NUMBERS = [133, 33, 26, 9, 37, 48]
TIDECV_COSTS = {
    'classification': 9.768019837460386,
    'localization': 6.202043521982205,
    'both': 0.8274958263997263,
    'duplicate': 2.208063186688335,
    'background': 7.141686714998173,
    'missed': 13.16383788314117,
}


def look(tmp_path, detections, truth=None):
    paths = write(tmp_path, truth=truth or coco(OBJECTS), found=found(*detections))
    known = read_truth(paths[0])
    matches = match(known, read_found(paths[1:], known).boxes)
    return matches, error_kinds(matches)


@pytest.mark.parametrize(('detections', 'expected'), CASES.values(), ids=CASES)
def test_each_kind(tmp_path, detections, expected):
    _, kinds = look(tmp_path, detections)
    assert sorted([*KINDS][kind] for kind in kinds) == sorted(expected)


@pytest.mark.parametrize('name', [name for name in CASES if name != 'none'])
def test_only_that_kind_costs(tmp_path, name):
    matches, kinds = look(tmp_path, CASES[name][0])
    wrong = [*KINDS][next(kind for kind in kinds if kind)]
    found_costs = costs(matches, kinds)
    # A duplicate behind all that is right costs nothing of AP50.
    assert (found_costs.pop(wrong) > 0.05) == (name != 'duplicate')
    assert set(found_costs.values()) == {0} and not missed_objects(matches, kinds).any()


def test_perfect_predictions_have_no_errors(tmp_path):
    matches, kinds = look(tmp_path, PERFECT)
    assert not kinds.any() and set(costs(matches, kinds).values()) == {0}


def test_a_missed_object_costs_what_its_class_lacks(tmp_path):
    matches, kinds = look(tmp_path, PERFECT[:2])
    assert missed_objects(matches, kinds).tolist() == [False, False, True]
    # The AP of cats is 51 / 101 without the second cat, and 1 if it did not count; the dogs' is 1.
    assert costs(matches, kinds)['missed'] == pytest.approx((1 - 51 / 101) / 2)


def test_a_class_that_is_missed_altogether_costs_all_of_its_ap(tmp_path):
    matches, kinds = look(tmp_path, [PERFECT[0], PERFECT[2]])
    assert costs(matches, kinds)['missed'] == pytest.approx(1 / 2)


def test_a_duplicate_before_what_is_right_costs(tmp_path):
    detections = [(*OBJECTS[0], 0.9), (1, CAT, [1, 0, 40, 40], 0.8), (*OBJECTS[2], 0.7)]
    matches, kinds = look(tmp_path, detections, coco([OBJECTS[0], OBJECTS[2]]))
    # Precision 1 up to a recall of 1/2, then 2/3.
    assert costs(matches, kinds)['duplicate'] == pytest.approx(1 - (51 + 50 * 2 / 3) / 101)


def test_the_threshold_decides_what_is_missed(tmp_path):
    matches, kinds = look(tmp_path, [(*OBJECTS[0], 0.9), (*OBJECTS[1], 0.5), (2, DOG, BOX, 0.3)])
    assert missed_objects(matches, kinds, 0.3).tolist() == [False, False, False]
    assert missed_objects(matches, kinds, 0.4).tolist() == [False, False, True]
    assert missed_objects(matches, kinds, 0.6).tolist() == [False, True, True]


def test_only_one_detection_of_an_object_is_put_right(tmp_path):
    """The one with the highest score; what is left are two wrong ones, which are removed."""
    off = [[25, 0, 40, 40], [24, 0, 40, 40], [-25, 0, 40, 40]]
    detections = [*PERFECT[:2], *((2, CAT, box, score) for box, score in zip(off, (0.5, 0.6, 0.7), strict=True))]
    matches, kinds = look(tmp_path, detections)
    assert costs(matches, kinds)['localization'] == pytest.approx((1 - 51 / 101) / 2)


def test_a_detection_in_a_crowd_does_not_count(tmp_path):
    truth = coco([*OBJECTS, (2, DOG, [0, 0, 200, 100], dict(iscrowd=1))])
    matches, kinds = look(tmp_path, [*PERFECT, (2, DOG, [100, 0, 40, 40], 0.95)], truth)
    assert sorted(kinds.tolist()) == [-1, 0, 0, 0]
    assert set(costs(matches, kinds).values()) == {0}


def test_costs_are_those_of_tidecv(tmp_path):
    """As tidecv 1.0.1 gives them, in points."""
    truth, detections = random_results(5, images=60)
    for one in truth['annotations']:
        one['iscrowd'] = 0
    # tidecv breaks ties of scores in another order.
    detections = [one | dict(score=(n * 7919 % 10007) / 10007) for n, one in enumerate(detections)]
    paths = write(tmp_path, truth=truth, found=detections)
    known = read_truth(paths[0])
    matches = match(known, read_found(paths[1:], known).boxes)
    kinds = error_kinds(matches)
    assert np.bincount(kinds).tolist() == TIDECV_NUMBERS
    assert {kind: 100 * cost for kind, cost in costs(matches, kinds).items()} == pytest.approx(TIDECV_COSTS, abs=1e-9)
