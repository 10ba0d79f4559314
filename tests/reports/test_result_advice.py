"""Advice follows from figures: each rule by a result that it is made for, and none without a reason."""

import re

import pytest
from helpers.results import CAT, DOG, coco, found, write

from mmfasternet.reports.result.advice import advise
from mmfasternet.reports.result.detections import read_found
from mmfasternet.reports.result.result import compute_result
from mmfasternet.reports.result.truth import read_truth

IMAGES = 20
HERE, THERE = [0, 0, 40, 40], [100, 0, 40, 40]
OBJECTS = [(image, category, box) for image in range(1, IMAGES + 1) for category, box in ((CAT, HERE), (DOG, THERE))]


@pytest.fixture
def advice(tmp_path):
    def advice(detections, objects=OBJECTS, image_size=None):
        paths = write(tmp_path, truth=coco(objects, images=IMAGES), found=found(*detections))
        truth = read_truth(paths[0])
        return advise(compute_result(truth, read_found(paths[1:], truth)), image_size)

    return advice


def scored(objects, score=0.9):
    return [(*one, score) for one in objects]


def test_perfect_predictions_need_no_advice(advice):
    assert advice([*scored(OBJECTS), (1, CAT, HERE, 0.05)]) == [
        'No kind of error costs more than 0.5 points of AP50; there is nothing to advise.'
    ]


def test_nothing_learned_and_low_scores(advice):
    assert advice([(image, CAT, [60, 50, 30, 30], 0.21) for image in range(1, 21)])[0].startswith(
        'No score is above 0.3; the highest was 0.21, and AP50 is 0.0: the detector has learned next to nothing. Likely'
    )


def test_nothing_learned_and_scores_that_are_not_high(advice):
    assert advice([(1, CAT, [60, 50, 30, 30], 0.34)])[0].startswith('No score is above 0.5; the highest was 0.34')


def test_boxes_on_nothing_with_high_scores(advice):
    first, second = advice([(image, CAT, [60, 50, 30, 30], 0.8) for image in range(1, 21)])
    assert first.startswith('AP50 is 0.0, though scores reach 0.80')
    assert second.startswith(
        '100% of the detections lie beside the objects: check that their boxes are x, y, width and height'
    )


def test_classes_numbered_in_another_way(advice):
    swapped = [(image, CAT + DOG - category, box, 0.8) for image, category, box in OBJECTS]
    assert advice(swapped)[1].startswith('100% of the detections lie on an object of another class: check that')


def test_two_classes_that_are_confused(advice):
    wrong = [(image, CAT + DOG - category, box, 0.95) for image, category, box in OBJECTS[:16]]
    said = advice([*scored(OBJECTS[16:]), *wrong, (1, CAT, [60, 60, 9, 9], 0.05)])
    assert len(said) == 1
    assert '16 of 16 confusions are between “cat” and “dog”: check the labels of these two.' in said[0]


def test_boxes_in_the_wrong_place(advice):
    off = [(image, category, [x + 20, y, w, h], 0.95) for image, category, (x, y, w, h) in OBJECTS[:16]]
    said = advice([*scored(OBJECTS[16:]), *off, (1, CAT, [60, 60, 9, 9], 0.05)])
    assert len(said) == 1 and said[0].startswith('Boxes that overlap their object too little')
    assert said[0].endswith('train longer, and check that the boxes of the truth are tight.')


def test_duplicates(advice):
    double = [(image, category, [x + 2, y, w, h], 0.8) for image, category, (x, y, w, h) in OBJECTS[:20]]
    said = advice([*scored(OBJECTS[:20]), *double, *scored(OBJECTS[20:], 0.7), (1, CAT, [60, 60, 9, 9], 0.05)])
    assert len(said) == 1 and said[0].startswith('Second detections of the same object cost')
    assert 'lower the IoU threshold of NMS' in said[0]


def test_background_and_the_threshold_to_use(advice):
    nothing = [(image, CAT, [60, 50, 30, 30], 0.6) for image in range(1, 21)]
    said = advice([*scored(OBJECTS[:30]), *nothing, *scored(OBJECTS[30:], 0.4), (1, CAT, [60, 60, 9, 9], 0.05)])
    assert len(said) == 1 and said[0].startswith('Detections where there is no object cost')
    assert 'from 0.90 on, where 100% are right and 75% of the objects are found' in said[0]


SMALL = [(image, CAT, [0, 60, 10, 10]) for image in range(1, 21)]


def test_small_objects_that_are_missed(advice):
    said = advice([*scored(OBJECTS), *scored(SMALL[:5]), (1, CAT, [60, 60, 9, 9], 0.05)], OBJECTS + SMALL)
    assert said[0].startswith('15 of 60 objects are missed at every score')
    assert said[0].endswith(
        '75% of those smaller than 32 × 32 pixels in the image, and 0% of the others. Train and test with a larger '
        'image size.'
    )


def test_sizes_are_those_that_the_detector_sees(advice):
    """Images of 200 × 100 are resized to 800 × 400: no object is below 32 pixels any more."""
    said = advice([*scored(OBJECTS), *scored(SMALL[:5]), (1, CAT, [60, 60, 9, 9], 0.05)], OBJECTS + SMALL, (800, 500))
    assert said[0].startswith('15 of 60') and 'larger image size' not in said[0]


def test_all_objects_are_small(advice):
    """Nothing tells that their size is the reason."""
    said = advice([*scored(SMALL[:5]), (1, CAT, [60, 60, 9, 9], 0.05)], SMALL)
    assert said[0].startswith('15 of 20') and 'larger image size' not in said[0]


def test_a_file_that_was_cut_off_at_a_high_score(advice):
    said = advice(scored(OBJECTS[:30], 0.5))
    assert any(sentence.startswith('The lowest score in the predictions is 0.50') for sentence in said)


def test_a_rare_class_with_a_low_ap(advice):
    objects = [one for one in OBJECTS if one[1] == CAT] + [one for one in OBJECTS if one[1] == DOG][:4]
    said = advice([*scored(objects[:21]), (1, CAT, [60, 60, 9, 9], 0.05)], objects)
    assert any(
        sentence.startswith('“dog” (4 objects, 25.7): few objects and a low AP50, where the other classes have 100.0')
        and sentence.endswith('Add images of them; an AP of so few objects is uncertain, too.')
        for sentence in said
    )


def test_three_sentences_at_most(advice):
    """Of four kinds of errors, the one that costs least is left out."""
    double = [(image, category, [x + 2, y, w, h], 0.85) for image, category, (x, y, w, h) in OBJECTS[:3]]
    nothing = [(image, DOG, [60, 50, 30, 30], 0.95) for image in range(1, 8)]
    off = [(image, category, [x + 20, y, w, h], 0.9) for image, category, (x, y, w, h) in OBJECTS[20:30]]
    said = advice([*scored(OBJECTS[:20]), *double, *nothing, *off, (1, CAT, [60, 60, 9, 9], 0.05)])
    assert len(said) == 3
    assert not any(sentence.startswith('Second detections') for sentence in said)
    costs = [float(re.search(r'costs? ([\d.]+) points', sentence)[1]) for sentence in said]
    assert costs == sorted(costs, reverse=True)
