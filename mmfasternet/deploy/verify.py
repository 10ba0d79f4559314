"""Checks that a runtime computes what the model does."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mmfasternet.errors import UserError

from .fold import TOLERANCE, largest_difference

__all__ = ['check_detections', 'check_maps', 'predict']

_BOX_TOLERANCE = 1e-2  # pixels
_SCORE_TOLERANCE = 1e-4
_MASK_TOLERANCE = 1e-3  # of a mask's pixels, and one more: rounding may decide on a mask's border


def check_maps(maps: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    """Make sure that feature maps are those of the model.

    Args:
        maps: What the runtime gave, each of shape (N, C, H, W).
        expected: What the model gave.

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
    difference = largest_difference(maps, expected)
    if not difference <= TOLERANCE:
        _refuse(f'maps that differ by {difference:.1e} of their largest value (allowed: {TOLERANCE:.0e})')
    return f'maps differ by at most {difference:.1e} of their largest value'


def check_detections(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    """Make sure that detections are those of the model; the order of equal scores does not matter.

    Args:
        found: Boxes (n, 4) in pixels, scores (n,), labels (n,) and boolean masks (n, H, W) of the runtime.
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
    boxes, scores, labels, masks = expected
    if [a.shape for a in found] != [b.shape for b in expected]:
        _refuse(f'{len(found[0])} detections, not {len(boxes)}, or masks of another size')
    if not len(boxes):
        return 'no detections, and so no boxes and masks, to compare'
    # The nearest box of the same label.
    distance = abs(found[0][:, None] - boxes).max(axis=2) + np.where(found[2][:, None] == labels, 0, np.inf)
    partner = distance.argmin(axis=1)
    if len(set(partner)) < len(partner) or np.isinf(distance.min(axis=1)).any():
        _refuse('other detections')
    box, score = distance.min(axis=1).max(), abs(found[1] - scores[partner]).max()
    masks = masks[partner]
    wrong = (found[3] != masks).sum(axis=(1, 2))
    if not box <= _BOX_TOLERANCE:
        _refuse(f'boxes that differ by {box:.1e} pixels (allowed: {_BOX_TOLERANCE:.0e})')
    if not score <= _SCORE_TOLERANCE:
        _refuse(f'scores that differ by {score:.1e} (allowed: {_SCORE_TOLERANCE:.0e})')
    if (wrong > 1 + _MASK_TOLERANCE * masks.sum(axis=(1, 2))).any():
        _refuse(f'a mask that differs in {wrong.max()} pixels')
    return (
        f'{len(boxes)} detections: boxes differ by at most {box:.1e} pixels, scores by {score:.1e}, '
        f'masks in {wrong.max()} pixels'
    )


def _refuse(what: str) -> None:
    raise UserError(f'the exported graph is not the model: on the same image it gives {what}; nothing is written')


@torch.no_grad()
def predict(model: nn.Module, image: Tensor) -> list[np.ndarray]:
    """Detect objects by mmdet's own ``predict``.

    Args:
        model: A detector of mmdet with masks, in evaluation mode, on the CPU.
        image: Red, green and blue from 0 to 255, float32 of shape (1, 3, H, W).

    Returns:
        Boxes (n, 4) in pixels, scores (n,), labels (n,) and boolean masks (n, H, W).
    """
    # Imported here, since the feature maps of a backbone are compared without mmdet.
    from mmdet.structures import DetDataSample

    shape = tuple(image.shape[2:])
    sample = DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0)))
    # mmdet's pipelines load blue, green, red.
    data = model.data_preprocessor(dict(inputs=[image[0].flip(0)], data_samples=[sample]))
    found = model.predict(data['inputs'], data['data_samples'])[0].pred_instances
    return [found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy(), found.masks.numpy()]
