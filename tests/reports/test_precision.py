"""AP is that of pycocotools, to the last digit; and what a match is."""

import contextlib
import io
import json

import numpy as np
import pytest
from helpers.results import CAT, DOG, coco, found, random_results, with_masks, write
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmfasternet.reports.result.detections import read_found
from mmfasternet.reports.result.matches import match
from mmfasternet.reports.result.precision import average_precision, coco_ap
from mmfasternet.reports.result.truth import read_truth


def of_pycocotools(truth, detections, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(truth))
        entries = json.loads(detections.read_text())
        if kind == 'segm':  # otherwise the sizes are those of the boxes
            entries = [{key: value for key, value in entry.items() if key != 'bbox'} for entry in entries]
        evaluation = COCOeval(truth, truth.loadRes(entries), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval['precision'][:, :, :, 0, -1]
    return evaluation.stats, np.where(precision < 0, np.nan, precision).mean((0, 1))


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('masks', [False, True], ids=['boxes', 'masks'])
def test_ap_is_that_of_pycocotools(tmp_path, seed, masks):
    """With crowds, equal scores, objects of all sizes, and images without objects or detections."""
    truth, detections = random_results(seed)
    if masks:
        truth['annotations'], detections = with_masks(truth['annotations']), with_masks(detections)
    truth, detections = write(tmp_path, truth=truth, found=detections)
    known = read_truth(truth)
    ap = coco_ap(match(known, read_found([detections], known).boxes, masks))
    stats, by_class = of_pycocotools(truth, detections, 'segm' if masks else 'bbox')
    assert [ap.ap, ap.ap50, *ap.by_size.values()] == pytest.approx([stats[0], stats[1], *stats[3:6]], abs=1e-12)
    assert ap.by_class == pytest.approx(by_class, abs=1e-12)
    assert 0.05 < ap.ap < 0.95


def matches_of(tmp_path, truth, detections):
    paths = write(tmp_path, truth=coco(truth), found=found(*detections))
    known = read_truth(paths[0])
    return match(known, read_found(paths[1:], known).boxes)


def test_perfect_predictions_have_an_ap_of_1(tmp_path):
    objects = [(1, CAT, [0, 0, 40, 40]), (1, DOG, [50, 0, 140, 90]), (2, CAT, [10, 10, 20, 20])]
    ap = coco_ap(matches_of(tmp_path, objects, [(*one, 0.9) for one in objects]))
    assert (ap.ap, ap.ap50, ap.by_class.tolist()) == (1, 1, [1, 1])
    assert ap.by_size == {'small': 1, 'medium': 1, 'large': 1} and ap.sizes == {'small': 1, 'medium': 1, 'large': 1}


def test_a_size_and_a_class_without_objects_have_no_ap(tmp_path):
    ap = coco_ap(matches_of(tmp_path, [(1, CAT, [0, 0, 10, 10])], [(1, CAT, [0, 0, 10, 10], 0.5)]))
    assert ap.sizes == {'small': 1, 'medium': 0, 'large': 0}
    assert ap.by_size['small'] == 1 and np.isnan(ap.by_size['large']) and np.isnan(ap.by_class[1])


def test_the_higher_score_finds_the_object(tmp_path):
    same = [0, 0, 40, 40]
    matches = matches_of(tmp_path, [(1, CAT, same)], [(1, CAT, same, 0.5), (1, CAT, [0, 0, 40, 36], 0.7)])
    assert matches.score.tolist() == [0.7, 0.5]
    assert matches.found.tolist() == [0, -1]
    assert matches.own_iou.tolist() == pytest.approx([0.9, 1])


def test_an_object_counts_from_an_iou_of_a_half_on(tmp_path):
    matches = matches_of(
        tmp_path,
        [(1, CAT, [0, 0, 40, 40]), (2, CAT, [0, 0, 40, 40])],
        [(1, CAT, [0, 0, 40, 20], 0.5), (2, CAT, [0, 0, 40, 19.9], 0.5)],
    )
    assert matches.found.tolist() == [0, -1]


def test_precision_is_the_best_at_that_recall_or_beyond():
    # Precision 1/2 and 2/3 at recalls 1/2 and 1: 2/3 at every recall.
    assert average_precision(np.array([0.9, 0.8, 0.7]), np.array([False, True, True]), 2) == pytest.approx(2 / 3)
    assert average_precision(np.array([0.9]), np.array([True]), 2) == pytest.approx(51 / 101)
    assert np.isnan(average_precision(np.array([0.9]), np.array([False]), 0))


def test_boxes_without_a_size_hide_nothing(tmp_path):
    objects = [(1, CAT, [5, 5, 0, 0]), (1, CAT, [0, 0, 40, 40])]
    matches = matches_of(tmp_path, objects, [(1, CAT, [5, 5, 0, 0], 0.9), (1, CAT, [0, 0, 40, 40], 0.8)])
    assert matches.found.tolist() == [-1, 1]
