"""What a test saves of its predictions: which file is whose, and what is in it."""

import json

import cv2
import numpy as np
import pytest
import torch

from mmfasternet.engine.saving import SavedMaps, SavedScores
from mmfasternet.errors import UserError

LABELS = torch.tensor([[[0, 1, 2], [2, 1, 0]]])


def maps(*paths: object, **more) -> list[dict]:
    return [dict(img_path=str(path), pred_sem_seg=dict(data=LABELS), **more) for path in paths]


def test_maps_of_images_of_one_name_lie_in_their_folders(tmp_path):
    metric = SavedMaps(tmp_path / 'out', tmp_path / 'images')
    metric.process(None, maps(tmp_path / 'images/a/1.jpg', tmp_path / 'images/b c/1.2.jpg'))
    assert metric.evaluate(2) == {}
    written = sorted((tmp_path / 'out').rglob('*.png'))
    assert [path.relative_to(tmp_path / 'out').as_posix() for path in written] == ['a/1.png', 'b c/1.2.png']
    assert cv2.imread(str(written[0]), cv2.IMREAD_UNCHANGED).tolist() == LABELS[0].tolist()


@pytest.mark.parametrize('images', [None, 'elsewhere'])
def test_a_map_of_an_image_elsewhere_has_its_name(tmp_path, images):
    """As mmseg has it; nothing is written outside of the folder."""
    SavedMaps(tmp_path / 'out', images).process(None, maps('/data/a/1.jpg'))
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['1.png']


def test_maps_without_a_background_are_counted_as_their_annotations(tmp_path):
    SavedMaps(tmp_path).process(None, maps('1.jpg', reduce_zero_label=True))
    assert cv2.imread(str(tmp_path / '1.png'), cv2.IMREAD_UNCHANGED).tolist() == (LABELS[0] + 1).tolist()


def test_scores(tmp_path):
    metric = SavedScores(tmp_path / 'a.json', ('cat', '狗'), tmp_path / 'images')
    scores = torch.tensor([0.25, 0.75])
    metric.process(None, [dict(img_path=f'{tmp_path}/images/x/1.jpg', pred_score=scores)])
    metric.process(None, [dict(img_path='/data/é.jpg', pred_score=scores.flip(0))])
    # A sampler may repeat an image, to give all processes as many.
    metric.process(None, [dict(img_path='again.jpg', pred_score=scores)])
    assert metric.evaluate(2) == {}
    assert json.loads((tmp_path / 'a.json').read_text()) == dict(
        classes=['cat', '狗'],
        images=[dict(file='x/1.jpg', scores=[0.25, 0.75]), dict(file='é.jpg', scores=[0.75, 0.25])],
    )


def test_scores_that_are_not_finite_are_not_written(tmp_path):
    metric = SavedScores(tmp_path / 'a.json', ('cat',))
    metric.process(None, [dict(img_path='1.jpg', pred_score=torch.tensor([np.nan]))])
    with pytest.raises(UserError, match='scores are not finite'):
        metric.evaluate(1)
    assert not (tmp_path / 'a.json').exists()
