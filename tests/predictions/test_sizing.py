"""Images get the sizes, and the pixels, that the packages' own transforms give them."""

import re

import numpy as np
import pytest
from mmcv.transforms import CenterCrop
from mmdet.datasets.transforms import Resize
from mmpretrain.datasets.transforms import ResizeEdge
from mmseg.datasets.transforms import ResizeToMultiple

from mmfasternet.errors import UserError
from mmfasternet.predictions.sizing import pad_to, resize_by, wrong_step

OWN = dict(Resize=Resize, ResizeEdge=ResizeEdge, ResizeToMultiple=ResizeToMultiple, CenterCrop=CenterCrop)
STEPS = [
    dict(type='Resize', scale=(133, 80), keep_ratio=True),
    dict(type='Resize', scale=(64, 64)),
    dict(type='Resize', scale=(64, 48), interpolation='bicubic'),
    dict(type='Resize', scale=50),
    dict(type='Resize', scale_factor=1.0),
    dict(type='Resize', scale_factor=(0.5, 1.5)),
    dict(type='ResizeEdge', scale=57, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='ResizeEdge', scale=57, edge='long'),
    dict(type='ResizeEdge', scale=57, edge='width', interpolation='area'),
    dict(type='ResizeEdge', scale=57, edge='height'),
    dict(type='ResizeToMultiple', size_divisor=32),
    dict(type='ResizeToMultiple', size_divisor=16, interpolation='nearest'),
    dict(type='CenterCrop', crop_size=40),
    dict(type='CenterCrop', crop_size=(31, 70)),
]


@pytest.mark.parametrize('step', STEPS, ids=str)
@pytest.mark.parametrize('size', [(97, 61), (50, 90), (64, 64)])
def test_a_step_is_that_of_its_package(step, size):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    arguments = dict(step)
    transform = OWN[arguments.pop('type')](**arguments)
    expected = transform.transform(dict(img=image.copy(), img_shape=size))['img']
    np.testing.assert_array_equal(resize_by(image, [step]), expected)
    assert wrong_step(step) is None


def test_a_fixed_size_holds_every_image():
    """In its own ratio; width and height are not exchanged, as Resize's are."""
    step = dict(type='Fit', width=64, height=32)
    for size, expected in (((97, 61), (32, 20)), ((30, 90), (21, 64)), ((16, 32), (32, 64)), ((2, 900), (1, 64))):
        assert resize_by(np.zeros((*size, 3), np.uint8), [step]).shape == (*expected, 3)


def test_padding_is_on_the_right_and_below():
    padded = pad_to(np.full((2, 3, 3), 9, np.uint8), 3, 4, (1.5, 2, 3))
    assert padded.dtype == np.float32 and (padded[:2, :3] == 9).all()
    assert (padded[2] == (1.5, 2, 3)).all() and (padded[:, 3] == (1.5, 2, 3)).all()


@pytest.mark.parametrize(
    'step, fault',
    [
        ('Resize', "the step 'Resize'"),
        (None, "the step 'None'"),
        (dict(type=['Resize']), 'not one of'),
        (dict(type='__class__'), "the step '__class__'"),
        (dict(type='Resize'), 'Resize without scale or scale_factor'),
        (dict(type='Resize', scale=1e9), 'scale=.* of Resize'),
        (dict(type='Resize', scale=True), 'scale='),
        (dict(type='Resize', scale=[1, 2, 3]), 'scale='),
        (dict(type='Resize', scale_factor=-1), 'scale_factor='),
        (dict(type='Resize', scale=9, keep_ratio='yes'), 'keep_ratio='),
        (dict(type='Resize', scale=9, backend='cv3'), 'backend='),
        (dict(type='Resize', scale=9, interpolation='hamming'), "'hamming' of the backend cv2"),
        (dict(type='Resize', scale=9, interpolation=['a']), 'interpolation='),
        (dict(type='Resize', scale=9, image=0), "image='0' of Resize"),
        (dict(type='ResizeEdge', edge='short'), 'ResizeEdge without scale'),
        (dict(type='Fit', width=9), 'Fit without height'),
    ],
)
def test_a_wrong_step_is_named(step, fault):
    found = wrong_step(step)
    assert found is not None and re.search(fault, found)


def test_a_size_beyond_all_limits_is_one_message():
    with pytest.raises(UserError, match=r'4 × 3 pixels would be resized to 40000 × 30000; sides are from 1 to 16384'):
        resize_by(np.zeros((3, 4, 3), np.uint8), [dict(type='Resize', scale_factor=10000)])
    with pytest.raises(UserError, match='resized to 0 × 0'):
        resize_by(np.zeros((3, 4, 3), np.uint8), [dict(type='Resize', scale_factor=0.01)])
