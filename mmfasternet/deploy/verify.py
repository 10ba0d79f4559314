"""Checks that a runtime computes what the model does."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mmfasternet.errors import UserError

from .fold import TOLERANCE, largest_difference

__all__ = [
    'check_classes',
    'check_detections',
    'check_maps',
    'check_ranking',
    'check_similar_detections',
    'predict',
    'predict_classes',
    'predict_ranking',
]

_BOX_TOLERANCE = 1e-2  # pixels
_SCORE_TOLERANCE = 1e-4
_MASK_TOLERANCE = 1e-3  # of a mask's pixels, and three more: rounding may decide on a mask's border

_NOTHING = 'no detections, and so no boxes and masks, to compare'

# In fp16, of a feature map's largest value.
_HALF_TOLERANCE = 1e-2
# In fp16, rounding also decides on a few proposals: so many detections must be in both, with these IoUs and score.
_SIMILAR_SHARE = 0.9
_SIMILAR_BOX = 0.9
_SIMILAR_MASK = 0.5
_SIMILAR_SCORE = 0.02
# Share of an image's pixels whose most likely class rounding may decide on.
_PIXELS = {'fp32': 1e-3, 'fp16': 0.1}


def check_maps(maps: Sequence[np.ndarray], expected: Sequence[np.ndarray], precision: str = 'fp32') -> str:
    """Make sure that feature maps are those of the model.

    Args:
        maps: What the runtime gave, each of shape (N, C, H, W).
        expected: What the model gave.
        precision: Of the file, 'fp32' or 'fp16', which allows for its rounding. Defaults to 'fp32'.

    Returns:
        The largest difference, in words.

    Raises:
        UserError: If a shape or a value differs.

    Example:
        >>> check_maps([np.ones((1, 2, 3, 3))], [np.ones((1, 2, 3, 3))])
        'maps differ by at most 0.0e+00 of their largest value'
    """
    if [a.shape for a in maps] != [b.shape for b in expected]:
        _refuse(f'maps of shapes {[a.shape for a in maps]}, not {[b.shape for b in expected]}')
    difference, allowed = largest_difference(maps, expected), _HALF_TOLERANCE if precision == 'fp16' else TOLERANCE
    if not difference <= allowed:
        _refuse(f'maps that differ by {difference:.1e} of their largest value (allowed: {allowed:.0e})')
    return f'maps differ by at most {difference:.1e} of their largest value'


def check_detections(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    """Make sure that detections are those of the model; the order of equal scores does not matter.

    Args:
        found: Boxes (n, 4) in pixels, scores (n,), labels (n,) and, where there are any, boolean masks (n, H, W) of the
            runtime.
        expected: The same, of the model.

    Returns:
        The number of detections and their largest differences, in words.

    Raises:
        UserError: If a detection is missing, or differs.

    Example:
        >>> detections = np.ones((1, 4)), np.ones(1), np.zeros(1), np.ones((1, 8, 8), bool)
        >>> check_detections(detections, detections)
        '1 detections: boxes differ by at most 0.0e+00 pixels, scores by 0.0e+00, masks in 0 pixels'
    """
    boxes, scores, labels, *masks = expected
    if [a.shape for a in found] != [b.shape for b in expected]:
        _refuse(f'{len(found[0])} detections, not {len(boxes)}, or masks of another size')
    if not len(boxes):
        return _NOTHING
    # The nearest box of the same label.
    distance = abs(found[0][:, None] - boxes).max(axis=2) + np.where(found[2][:, None] == labels, 0, np.inf)
    partner = distance.argmin(axis=1)
    if len(set(partner)) < len(partner) or np.isinf(distance.min(axis=1)).any():
        _refuse('other detections')
    box, score = distance.min(axis=1).max(), abs(found[1] - scores[partner]).max()
    if not box <= _BOX_TOLERANCE:
        _refuse(f'boxes that differ by {box:.1e} pixels (allowed: {_BOX_TOLERANCE:.0e})')
    if not score <= _SCORE_TOLERANCE:
        _refuse(f'scores that differ by {score:.1e} (allowed: {_SCORE_TOLERANCE:.0e})')
    differences = [f'boxes differ by at most {box:.1e} pixels', f'scores by {score:.1e}']
    for ours, exact in zip(found[3:], masks, strict=True):
        exact = exact[partner]
        wrong = (ours != exact).sum(axis=(1, 2))
        if (wrong > 3 + _MASK_TOLERANCE * exact.sum(axis=(1, 2))).any():
            _refuse(f'a mask that differs in {wrong.max()} pixels')
        differences.append(f'masks in {wrong.max()} pixels')
    return f'{len(boxes)} detections: {", ".join(differences)}'


def check_similar_detections(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    """Make sure that detections in fp16 are those of the model, up to its rounding.

    Nine of ten detections must be in both: with the same label, an IoU of at least 0.9 of the boxes and 0.5 of the
    masks, and scores at most 0.02 apart.

    Args:
        found: Boxes (n, 4) in pixels, scores (n,), labels (n,) and, where there are any, boolean masks (n, H, W) of the
            runtime.
        expected: The same, of the model.

    Returns:
        How many detections are in both, in words.

    Raises:
        UserError: If too few are.

    Example:
        >>> detections = np.ones((1, 4)), np.ones(1), np.zeros(1), np.ones((1, 8, 8), bool)
        >>> check_similar_detections(detections, detections)
        '1 of 1 detections are the same up to rounding'
    """
    boxes, scores, labels, *masks = found
    most = max(len(boxes), len(expected[0]))
    if not most:
        return _NOTHING
    same = (labels[:, None] == expected[2]) & (abs(scores[:, None] - expected[1]) <= _SIMILAR_SCORE)
    same &= _overlaps(boxes, expected[0]) >= _SIMILAR_BOX
    for ours, exact in zip(masks, expected[3:], strict=True):
        for i, j in zip(*same.nonzero(), strict=True):
            same[i, j] = (ours[i] & exact[j]).sum() >= _SIMILAR_MASK * (ours[i] | exact[j]).sum()
    number = min(same.any(axis=0).sum(), same.any(axis=1).sum())
    if number < _SIMILAR_SHARE * most:
        _refuse(f'{number} of {most} detections (needed: {_SIMILAR_SHARE:.0%})')
    return f'{number} of {most} detections are the same up to rounding'


def check_classes(found: np.ndarray, expected: np.ndarray, precision: str = 'fp32') -> str:
    """Make sure that a map of classes is that of the model.

    Args:
        found: The classes (H, W) of the runtime.
        expected: The same, of the model.
        precision: Of the file, 'fp32' or 'fp16', which allows for its rounding. Defaults to 'fp32'.

    Returns:
        How many pixels differ, in words.

    Raises:
        UserError: If too many do.

    Example:
        >>> check_classes(np.zeros((8, 8)), np.zeros((8, 8)))
        '0 of 64 pixels have another class'
    """
    if found.shape != expected.shape:
        _refuse(f'a map of {found.shape} pixels, not {expected.shape}')
    wrong, allowed = int((found != expected).sum()), _PIXELS[precision]
    difference = f'{wrong} of {found.size} pixels'
    if wrong > allowed * found.size:
        _refuse(f'another class in {difference} (allowed: {allowed:.1%})')
    return f'{difference} have another class'


def check_ranking(found: Sequence[np.ndarray], expected: np.ndarray, precision: str = 'fp32') -> str:
    """Make sure that the most likely classes are those of the model; the order of equal scores does not matter.

    Args:
        found: Labels (k,) and scores (k,) of the runtime, highest first.
        expected: The scores (classes,) of the model.
        precision: Of the file, 'fp32' or 'fp16', which allows for its rounding. Defaults to 'fp32'.

    Returns:
        The largest difference, in words.

    Raises:
        UserError: If a class or a score differs.

    Example:
        >>> check_ranking([np.array([2, 0]), np.array([0.7, 0.2])], np.array([0.2, 0.1, 0.7]))
        'scores of the 2 most likely classes differ by at most 0.0e+00'
    """
    labels, scores = found
    best = np.sort(expected)[::-1][: len(labels)]
    # Those of the labels that were found, and those that are the highest.
    difference = max(abs(scores - expected[labels]).max(), abs(scores - best).max())
    allowed = _SIMILAR_SCORE if precision == 'fp16' else _SCORE_TOLERANCE
    if not difference <= allowed:
        _refuse(f'scores that differ by {difference:.1e} (allowed: {allowed:.0e})')
    return f'scores of the {len(labels)} most likely classes differ by at most {difference:.1e}'


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The IoU of each box (n, 4) with each of the others (m, 4)."""
    boxes = boxes[:, None]
    sides = np.minimum(boxes[..., 2:], others[:, 2:]) - np.maximum(boxes[..., :2], others[:, :2])
    shared = sides.clip(min=0).prod(axis=-1)
    union = (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) + (others[:, 2:] - others[:, :2]).prod(axis=-1) - shared
    # Equal boxes without an area are the same.
    return np.where(union > 0, shared / np.maximum(union, 1e-9), (boxes == others).all(axis=-1))


def _refuse(what: str) -> None:
    raise UserError(f'the exported graph is not the model: on the same image it gives {what}; nothing is written')


@torch.no_grad()
def predict(model: nn.Module, image: Tensor, pad: dict | None = None) -> list[np.ndarray]:
    """Detect objects by mmdet's own ``predict``.

    Args:
        model: A detector of mmdet in evaluation mode, on the CPU.
        image: Red, green and blue from 0 to 255, float32 of shape (1, 3, H, W).
        pad: The arguments of mmdet's ``Pad``, which pads the image before the model does. Defaults to None.

    Returns:
        Boxes (n, 4) in pixels, scores (n,), labels (n,) and, of a detector that has them, boolean masks (n, H, W).
    """
    # Imported here, since the feature maps of a backbone are compared without mmdet.
    from mmdet.datasets.transforms import Pad
    from mmdet.structures import DetDataSample

    # Boxes end at the image, not at what it is padded to.
    shape = tuple(image.shape[2:])
    sample = DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0)))
    # mmdet's pipelines load blue, green, red.
    pixels = image[0].flip(0)
    if pad is not None:
        pixels = Pad(**pad)(dict(img=pixels.permute(1, 2, 0).numpy()))['img']
        pixels = torch.from_numpy(pixels).permute(2, 0, 1)
    data = model.data_preprocessor(dict(inputs=[pixels], data_samples=[sample]))
    found = model.predict(data['inputs'], data['data_samples'])[0].pred_instances
    return [found[name].numpy() for name in ('bboxes', 'scores', 'labels', 'masks') if name in found]


@torch.no_grad()
def predict_classes(model: nn.Module, image: Tensor) -> np.ndarray:
    """Find the class of every pixel by mmseg's own ``predict``.

    Args:
        model: A segmentor of mmseg in evaluation mode, on the CPU.
        image: Red, green and blue from 0 to 255, float32 of shape (1, 3, H, W).

    Returns:
        The classes (H, W).
    """
    # Imported here, since only segmentors need it.
    from mmseg.structures import SegDataSample

    shape = tuple(image.shape[2:])
    sample = SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape))
    # mmseg's pipelines load blue, green, red.
    data = model.data_preprocessor(dict(inputs=[image[0].flip(0)], data_samples=[sample]))
    return model.predict(data['inputs'], data['data_samples'])[0].pred_sem_seg.data[0].numpy()


@torch.no_grad()
def predict_ranking(model: nn.Module, image: Tensor) -> np.ndarray:
    """Score all classes by mmpretrain's own ``predict``.

    Args:
        model: A classifier of mmpretrain in evaluation mode, on the CPU.
        image: Red, green and blue from 0 to 255, float32 of shape (1, 3, H, W).

    Returns:
        The scores (classes,).
    """
    # mmpretrain's pipelines load blue, green, red.
    return model.predict(model.data_preprocessor(dict(inputs=[image[0].flip(0)]))['inputs'])[0].pred_score.numpy()
