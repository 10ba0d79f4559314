"""Confusion, thresholds and calibration of a few boxes."""

import numpy as np
import pytest
from helpers.results import CAT, DOG, coco, found, random_results, write

from mmfasternet.reports.result.calibration import calibration_bins, calibration_error
from mmfasternet.reports.result.confusion import confusion_matrix, frequent_confusions
from mmfasternet.reports.result.detections import read_found
from mmfasternet.reports.result.error_kinds import error_kinds
from mmfasternet.reports.result.matches import match
from mmfasternet.reports.result.precision_recall import draw_curve
from mmfasternet.reports.result.truth import read_truth

HERE, THERE = [0, 0, 40, 40], [100, 0, 40, 40]


def confusion(tmp_path, truth, detections, threshold=0.0):
    paths = write(tmp_path, truth=truth, found=detections)
    known = read_truth(paths[0])
    matches = match(known, read_found(paths[1:], known).boxes)
    return matches, confusion_matrix(matches, error_kinds(matches), threshold)


def test_confusion_of_each_sort(tmp_path):
    truth = coco([(1, CAT, HERE), (1, CAT, THERE), (2, DOG, HERE), (2, DOG, THERE)])
    detections = found(
        (1, CAT, HERE, 0.9),  # right
        (1, DOG, HERE, 0.8),  # on an object that is found
        (1, DOG, THERE, 0.7),  # a cat taken for a dog
        (2, CAT, HERE, 0.6),  # a dog taken for a cat, once only
        (2, CAT, [1, 0, 40, 40], 0.5),
    )
    assert confusion(tmp_path, truth, detections)[1].tolist() == [[1, 1, 0], [1, 0, 1], [1, 1, 0]]
    assert confusion(tmp_path, truth, detections, 0.65)[1].tolist() == [[1, 1, 0], [0, 0, 2], [0, 1, 0]]


@pytest.mark.parametrize('threshold', [0.0, 0.5])
def test_every_object_and_every_detection_counts_once(tmp_path, threshold):
    truth, detections = random_results(3)
    for entry in truth['annotations']:
        entry['iscrowd'] = 0
    matches, matrix = confusion(tmp_path, truth, detections, threshold)
    shown = matches.label[matches.score >= threshold]
    assert matrix.sum(1)[:-1].tolist() == matches.counts[:, 0].tolist()
    assert matrix.sum(0)[:-1].tolist() == np.bincount(shown, minlength=3).tolist()


def test_the_most_frequent_confusions():
    matrix = np.zeros((80, 80), int)
    matrix[3, 5], matrix[7, 2], matrix[1, 1] = 2, 9, 50
    assert frequent_confusions(matrix, 20) == [(7, 2, 9), (3, 5, 2)]
    assert frequent_confusions(matrix, 1) == [(7, 2, 9)]


def test_the_threshold_with_the_best_f1():
    score = np.array([0.2, 0.9, 0.6, 0.4])
    curve = draw_curve(score, np.array([True, True, True, False]), 4)
    assert curve.thresholds.tolist() == [0.9, 0.6, 0.4, 0.2]
    assert curve.precision.tolist() == [1, 1, 2 / 3, 3 / 4] and curve.recall.tolist() == [1 / 4, 2 / 4, 2 / 4, 3 / 4]
    assert curve.f1 == pytest.approx([2 / 5, 2 / 3, 4 / 7, 3 / 4]) and curve.best == 3


def test_a_curve_of_nothing_right_has_no_best_threshold():
    assert draw_curve(np.array([0.5]), np.array([False]), 3).best is None
    assert draw_curve(np.array([]), np.array([], bool), 3).best is None


def test_scores_that_mean_what_they_say():
    score = np.repeat([0.25, 0.75], [400, 400])
    right = np.arange(800) % 4 < np.repeat([1, 3], [400, 400])
    bins = calibration_bins(score, right)
    assert [(one.count, one.right) for one in bins if one.count] == [(400, 0.25), (400, 0.75)]
    assert calibration_error(bins) == pytest.approx(0)


def test_scores_that_are_too_high():
    bins = calibration_bins(np.array([0.9, 0.95, 1.0, 0.05]), np.array([False, True, False, False]))
    assert bins[9].count == 3 and bins[9].right == pytest.approx(1 / 3) and bins[9].score == pytest.approx(0.95)
    assert calibration_error(bins) == pytest.approx((3 * (0.95 - 1 / 3) + 0.05) / 4)
