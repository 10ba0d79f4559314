"""Files of truth and predictions that are not in order: one message each, that says what to do."""

import json

import numpy as np
import pytest
from helpers.results import CAT, DOG, coco, found, with_masks, write

from mmfasternet.errors import UserError
from mmfasternet.reports.result.detections import read_found
from mmfasternet.reports.result.explain import explain_result
from mmfasternet.reports.result.truth import read_truth

BOX = [10, 10, 40, 40]
RIGHT = found((1, CAT, BOX, 0.9))[0]
MASKED = with_masks([RIGHT])[0]


@pytest.fixture
def truth(tmp_path):
    return read_truth(write(tmp_path, truth=coco([(1, CAT, BOX), (2, DOG, BOX)]))[0])


@pytest.fixture
def read(tmp_path, truth):
    def read(*contents):
        paths = []
        for number, content in enumerate(contents):
            paths.append(tmp_path / f'{number}.json')
            paths[-1].write_text(content if isinstance(content, str) else json.dumps(content))
        return read_found(paths, truth)

    return read


def mask(**changes):
    return MASKED | dict(segmentation=MASKED['segmentation'] | changes)


WRONG = {
    'another image': ([RIGHT | dict(image_id=9)], r'detection 0: "image_id" must be .* 2 images .*\(1, 2\), but is 9'),
    'an image as text': ([RIGHT | dict(image_id='1')], '"image_id" must be'),
    'a list as image': ([RIGHT | dict(image_id=[1])], '"image_id" must be'),
    'another category': ([RIGHT | dict(category_id=0)], r'2 categories of the truth \(3, 7\), but is 0'),
    'no score': ([{k: v for k, v in RIGHT.items() if k != 'score'}], '"score" must be .*, but is missing'),
    'a score that is NaN': ([RIGHT | dict(score=float('nan'))], '"score" must be a number between 0 and 1, but is nan'),
    'a score of 90': ([RIGHT | dict(score=90)], '"score" must be a number between 0 and 1, but is 90'),
    'a score as text': ([RIGHT | dict(score='0.9')], '"score" must be'),
    'true as score': ([RIGHT | dict(score=True)], '"score" must be'),
    'an infinite box': ([RIGHT | dict(bbox=[0, 0, float('inf'), 1])], '"bbox" must be x, y, width and height'),
    'a huge box': ([RIGHT | dict(bbox=[0, 0, 1e300, 1e300])], '"bbox" must be'),
    'a box turned over': ([RIGHT | dict(bbox=[0, 0, -5, 5])], '"bbox" must be'),
    'three numbers': ([RIGHT | dict(bbox=[0, 0, 5])], '"bbox" must be'),
    'no box': ([{k: v for k, v in RIGHT.items() if k != 'bbox'}], '"bbox" must be .*, but is missing'),
    'a number': ([5], 'detection 0 must be an object'),
    'an object': ({'a': 1}, 'is a dict; give the results of a detector'),
    'the truth': (coco([(1, CAT, BOX)]), 'is annotations; give the results of a detector'),
    'nothing': ([], 'holds no detections: the detector found nothing'),
    'no JSON': ('\x80\x04K\x01.', 'is not JSON|is not in UTF-8'),
    'cut off': ('[{"image_id": 1', 'is not JSON, or was cut off'),
    'a mask of another size': ([mask(size=[5, 5])], r'"segmentation" must be run lengths of the size \[100, 200\]'),
    'too short a mask': ([mask(counts='11')], '"segmentation" must be run lengths of all pixels'),
    'a mask beyond the end': ([mask(counts=[0, 10**12])], '"segmentation" must be run lengths of all pixels'),
    'runs below 0': ([mask(counts=[-5, 20005])], '"segmentation" must be run lengths of all pixels'),
    'runs of half pixels': ([mask(counts=[0.5, 19999.5])], '"segmentation" must be run lengths of all pixels'),
    'a mask missing': ([MASKED, RIGHT], 'detection 1: "segmentation" must be .*, but is missing'),
    'a polygon': ([MASKED | dict(segmentation=[[0, 0, 9, 0, 9, 9]])], '"segmentation" must be run lengths'),
}


@pytest.mark.parametrize(('content', 'message'), WRONG.values(), ids=WRONG)
def test_wrong_predictions_are_one_message(read, content, message):
    with pytest.raises(UserError, match=message) as error:
        read(content)
    assert len(str(error.value)) < 400


def test_many_faults_are_a_short_message(read):
    with pytest.raises(UserError, match=r'1000 faults:') as error:
        read([RIGHT | dict(score=5, bbox=['x' * 10**5])] * 500)
    assert len(str(error.value)) < 3000


def test_a_pickle_is_not_read(tmp_path, truth):
    with pytest.raises(UserError, match='is a pickle, which is not read.*outfile_prefix'):
        read_found([tmp_path / 'missing.pkl'], truth)


def test_two_files_of_boxes_are_a_mistake(read):
    with pytest.raises(UserError, match='holds boxes, as another of the files does'):
        read([RIGHT], [RIGHT])


def test_boxes_and_masks_of_the_same_detections(read):
    both = read([RIGHT], [MASKED])
    assert both.boxes.boxes.tolist() == [BOX] and both.boxes.masks == both.masks.masks
    others = read([RIGHT | dict(score=0.8)], [MASKED])
    assert others.boxes.masks is None and others.masks.score.tolist() == [0.9]


def test_boxes_around_masks(read):
    assert read([{k: v for k, v in MASKED.items() if k != 'bbox'}]).boxes.boxes.tolist() == [BOX]
    uncompressed = mask(counts=[0, 300, 100 * 200 - 300])
    assert read([{k: v for k, v in uncompressed.items() if k != 'bbox'}]).boxes.boxes.tolist() == [[0, 0, 3, 100]]


def test_a_hundred_detections_of_a_class_in_an_image(read):
    scores = np.linspace(0, 1, 150).tolist()
    kept = read([RIGHT | dict(score=score) for score in scores] + found((1, DOG, BOX, 0.5), (2, CAT, BOX, 0.1))).boxes
    assert len(kept) == 102
    assert kept.score[kept.image == 0][:3].tolist() == scores[:-4:-1]
    assert (np.diff(kept.score[kept.image == 0]) <= 0).all()


def test_images_that_are_not_there(tmp_path):
    paths = write(tmp_path, truth=coco([(1, CAT, BOX)]), found=[RIGHT])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match=r'empty has none of the 2 images of the truth, such as 1.png'):
        explain_result(paths[0], paths[1:], tmp_path / 'empty', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_truth_without_objects(tmp_path):
    with pytest.raises(UserError, match='has no objects, so there is nothing to compare with'):
        read_truth(write(tmp_path, truth=coco([]))[0])


def test_a_truth_that_is_predictions(tmp_path):
    with pytest.raises(UserError, match='it is a list of annotations, as of the results of a detector'):
        read_truth(write(tmp_path, truth=[RIGHT])[0])
