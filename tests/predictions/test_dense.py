"""Boxes from the maps of a head in numpy: by hand, and as the graph in torch decodes them."""

import json
import re

import numpy as np
import pytest

from mmfasternet.errors import UserError
from mmfasternet.predictions.dense import decoding_of, suppress
from mmfasternet.predictions.maps_file import MapsFile

LIMITS = dict(nms_pre=100, score_thr=0.2, min_bbox_size=-1, iou_threshold=0.5, max_per_img=100)
POINTS = dict(kind='distances', levels=[dict(stride=[8, 4], priors=[[4, 2]])], **LIMITS)
ANCHORS = dict(
    kind='deltas',
    levels=[dict(stride=[8, 8], priors=[[-4, -4, 4, 4], [-8, -8, 8, 8]])],
    means=[0.5, 0, 0, 0],
    stds=[1, 1, 2, 2],
    **LIMITS,
)


def logit(score: float) -> float:
    return float(np.log(score / (1 - score)))


def nowhere(*shape: int) -> np.ndarray:
    return np.full(shape, logit(0.1), np.float32)


def test_distances_are_from_the_point_of_their_place_and_end_at_the_image():
    classes, sides = nowhere(3, 2, 4), np.zeros((4, 2, 4), np.float32)
    classes[2, 1, 3], sides[:, 1, 3] = logit(0.9), [1, 2, 30, 0.5]
    classes[0, 0, 1], sides[:, 0, 1] = logit(0.3), [3, 1, 3, 1]
    boxes, scores, labels = decoding_of(POINTS)([classes, sides], 8, 32)
    # The points are (4 + 3 · 8, 2 + 4) and (4 + 8, 2).
    np.testing.assert_allclose(boxes, [[27, 4, 32, 6.5], [9, 1, 15, 3]])
    np.testing.assert_allclose(scores, [0.9, 0.3], rtol=1e-6)
    assert labels.tolist() == [2, 0]


def test_deltas_are_scaled_and_belong_to_one_of_the_anchors_of_a_place():
    classes, deltas = nowhere(2 * 3, 2, 2), np.zeros((2 * 4, 2, 2), np.float32)
    # The second anchor's second class, at x 1 and y 1: the anchor is (0, 0, 16, 16).
    classes[3 + 1, 1, 1], deltas[4:, 1, 1] = logit(0.8), [-0.25, 0.25, np.log(2) / 2, 0]
    (box,), (score,), (label,) = decoding_of(ANCHORS)([classes, deltas], 100, 100)
    # Moved by (-0.25 + 0.5) · 16 and 0.25 · 16, and twice as wide.
    np.testing.assert_allclose(box, [0, 4, 28, 20], atol=1e-5)
    assert score == pytest.approx(0.8) and label == 1


def test_scores_are_weighted_after_the_limits_of_a_level():
    classes, sides, factors = nowhere(1, 1, 3), np.ones((4, 1, 3), np.float32), np.zeros((1, 1, 3), np.float32)
    classes[0, 0] = [logit(0.5), logit(0.9), logit(0.15)]
    factors[0, 0, 1] = logit(0.25)
    decoding = decoding_of(POINTS)
    _, scores, _ = decoding([classes, sides, factors], 4, 24)
    # The third is below the limit; the others are halved and quartered, below the limit too.
    np.testing.assert_allclose(scores, [0.25, 0.225], rtol=1e-6)
    _, scores, _ = decoding_of(POINTS | dict(nms_pre=1))([classes, sides, factors], 4, 24)
    np.testing.assert_allclose(scores, [0.225], rtol=1e-6)
    assert [len(one) for one in decoding([nowhere(1, 1, 3), sides, factors], 4, 24)] == [0, 0, 0]


def test_small_boxes_are_left_out():
    classes, sides = np.full((1, 1, 2), logit(0.9), np.float32), np.ones((4, 1, 2), np.float32)
    sides[0, 0, 0] = 3
    for smallest, left in ((-1, 2), (0, 2), (2, 0), (1.9, 2)):
        boxes, *_ = decoding_of(POINTS | dict(min_bbox_size=smallest))([classes, sides], 4, 16)
        assert len(boxes) == left


def test_only_boxes_of_one_label_suppress_each_other():
    boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [0, 0, 4, 10], [5, 0, 5, 9]])
    scores, labels = np.float32([0.5, 0.9, 0.8, 0.7, 0.6]), np.array([0, 0, 1, 0, 0])
    assert suppress(boxes, scores, labels, 0.5, 10).tolist() == [1, 2, 3, 4]
    assert suppress(boxes, scores, labels, 0.5, 2).tolist() == [1, 2]
    # An overlap of exactly the limit stays.
    assert suppress(boxes, scores, labels, 0.9, 10).tolist() == [1, 2, 3, 4, 0]
    assert suppress(boxes[:0], scores[:0], labels[:0], 0.5, 10).tolist() == []


def test_nms_is_torchvisions():
    torch, ops = pytest.importorskip('torch'), pytest.importorskip('torchvision').ops
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (400, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 40, (400, 2))], axis=1).astype(np.float32)
    scores, labels = rng.uniform(0, 1, 400).astype(np.float32), rng.integers(0, 3, 400)
    moved = torch.from_numpy(boxes + np.float32(labels * (boxes.max() + 1))[:, None])
    expected = ops.nms(moved, torch.from_numpy(scores), 0.4).tolist()
    assert 20 < len(expected) < 300
    assert suppress(boxes, scores, labels, 0.4, 1000).tolist() == expected


def test_maps_of_another_head_are_refused():
    decoding, sides = decoding_of(ANCHORS), np.zeros((8, 2, 2), np.float32)
    for maps, words in (
        ([nowhere(6, 2, 2)], '1 maps, not 2 or 3'),
        ([nowhere(5, 2, 2), sides], 'for 2 priors at a place'),
        ([nowhere(6, 2, 2), sides[:4]], 'for 2 priors at a place'),
        ([nowhere(6, 2, 2), sides, nowhere(1, 2, 2)], 'for 2 priors at a place'),
    ):
        with pytest.raises(ValueError, match=words):
            decoding(maps, 16, 16)


@pytest.mark.parametrize(
    'wrong, words',
    [
        (None, 'kind should be one of deltas, distances'),
        (POINTS | dict(kind='corners'), 'kind should be one of'),
        (POINTS | dict(levels=[]), 'levels should be a list of 1 to 16'),
        (POINTS | dict(levels=POINTS['levels'] * 17), 'levels should be a list of 1 to 16'),
        (POINTS | dict(levels=[5]), 'stride should be two numbers above 0'),
        (POINTS | dict(levels=[dict(stride=[8, 0], priors=[[0, 0]])]), 'stride should be'),
        (POINTS | dict(levels=[dict(stride=[8, 8], priors=[])]), 'priors should be a list'),
        (POINTS | dict(levels=[dict(stride=[8, 8], priors=[[0, 0, 8, 8]])]), 'a prior should be 2 numbers'),
        (POINTS | dict(levels=[dict(stride=[8, 8], priors=[[0, float('nan')]])]), 'a prior should be 2 numbers'),
        (POINTS | dict(nms_pre=0), 'nms_pre should be a number from 1'),
        (POINTS | dict(max_per_img=True), 'max_per_img should be a number from 1'),
        (POINTS | dict(score_thr=1), 'score_thr should be a number from 0 to 1'),
        (POINTS | dict(iou_threshold='0.5'), 'iou_threshold should be'),
        (ANCHORS | dict(stds=[1, 1]), 'stds should be four numbers'),
    ],
)
def test_what_says_nothing_about_decoding_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        decoding_of(wrong)


CONTENT = dict(
    part='detector', task='detection', classes=['cat'], input=dict(resize=[]), shape=[32, 64], decoding=POINTS
)


def test_a_file_of_maps_is_a_detector(tmp_path):
    """In whatever runtime: this one finds a cat around the point (20, 6), of any pixels."""
    classes, sides = nowhere(1, 8, 8), np.full((4, 8, 8), 4, np.float32)
    classes[0, 1, 2] = logit(0.9)
    (tmp_path / 'a.pte').touch()
    (tmp_path / 'a.pte.json').write_text(json.dumps(CONTENT))
    file = MapsFile(tmp_path / 'a.pte', lambda: lambda pixels: [classes, sides])
    assert file.shape == (32, 64) and file.metadata.classes == ['cat']
    (found,) = file([np.zeros((32, 64, 3), np.uint8)])
    assert found.values['boxes'].tolist() == [[16, 2, 24, 10]] and found.values['labels'].tolist() == [0]
    broken = MapsFile(tmp_path / 'a.pte', lambda: lambda pixels: [classes])
    with pytest.raises(UserError, match='a.pte cannot be run: 1 maps, not 2 or 3'):
        broken([np.zeros((32, 64, 3), np.uint8)])


@pytest.mark.parametrize(
    'content, words',
    [
        (None, 'a.pte.json does not exist'),
        ('[1, 2]', 'is not what tools/export.py writes (it is no object)'),
        ('{', 'is not what tools/export.py writes'),
        ('[' * 100_000, 'is not what tools/export.py writes'),
        (CONTENT | dict(shape=[32]), 'has no shape, [height, width]'),
        (CONTENT | dict(shape=[32, 2**20]), 'has no shape'),
        (CONTENT | dict(decoding={}), '"decoding" in the JSON beside it: kind should be'),
        (
            CONTENT | dict(part='backbone'),
            'the file holds no complete model that tools/export.py wrote',
        ),
        (CONTENT | dict(classes=[]), 'classes'),
    ],
)
def test_a_json_of_another_kind_is_refused(tmp_path, content, words):
    (tmp_path / 'a.pte').touch()
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / 'a.pte.json').write_text(text)
    with pytest.raises(UserError, match=re.escape(words)):
        MapsFile(tmp_path / 'a.pte', lambda: pytest.fail('the runtime was opened'))
