"""Steps on boxes that detectors share: the best of each level, from deltas to corners, and NMS."""

import math
from collections.abc import Iterator, Sequence

import torch
from mmdet.models.task_modules import DeltaXYWHBBoxCoder
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms

__all__ = [
    'best_of_levels',
    'decode_deltas',
    'decode_distances',
    'keep_best',
    'suppress',
    'unsupported_coder',
    'unsupported_limits',
    'unsupported_scores',
]

# mmdet's wh_ratio_clip: a box grows or shrinks by at most this factor.
_MAX_LOG_RATIO = abs(math.log(16 / 1000))


def best_of_levels(head: nn.Module, outputs: Sequence[Sequence[Tensor]], limit: int) -> list[Tensor]:
    """The n most likely boxes of a head that looks at every place of every level, of one image after another.

    Args:
        head: A dense head of mmdet whose classes have sigmoids.
        outputs: What the head gives of feature maps, for each level: logits of classes, deltas, and anything else.
        limit: The largest number from a level.

    Returns:
        Priors and what the head makes of them (n, 4), scores, labels, levels and images (n,), and the rest of what the
        head gives of each (n, values).
    """
    found = []
    for level, (logits, deltas, *others) in enumerate(zip(*outputs, strict=True)):
        priors = head.prior_generator.single_level_grid_priors(logits.shape[2:], level, device=logits.device)
        scores = _rows(logits, head.cls_out_channels).flatten(1).sigmoid()
        scores, best = scores.topk(torch.sym_min(limit, scores.shape[1]))
        places, labels = best // head.cls_out_channels, best % head.cls_out_channels
        images = torch.arange(best.shape[0], device=best.device)[:, None].expand_as(best)
        columns = [4, *(other.shape[1] // head.num_base_priors for other in others)]
        deltas, *others = (
            _rows(values, number)[images, places] for values, number in zip((deltas, *others), columns, strict=True)
        )
        found.append([priors[places], deltas, scores, labels, torch.full_like(best, level), images, *others])
    return [torch.cat(values, dim=1).flatten(0, 1) for values in zip(*found, strict=True)]


def _rows(outputs: Tensor, columns: int) -> Tensor:
    """Outputs (N, priors · columns, H, W) as (N, H · W · priors, columns)."""
    return outputs.permute(0, 2, 3, 1).reshape(outputs.shape[0], -1, columns)


def decode_deltas(coder: DeltaXYWHBBoxCoder, boxes: Tensor, deltas: Tensor, shape: Sequence[int]) -> Tensor:
    """Move and stretch boxes.

    Args:
        coder: The coder of the deltas.
        boxes: Boxes (n, 4).
        deltas: Deltas of their centres and sides (n, 4).
        shape: Height and width of the image.

    Returns:
        The boxes (n, 4), clipped to the image.
    """
    deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) * 0.5 + size * deltas[:, :2]
    half = size * deltas[:, 2:].clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp() * 0.5
    return _clipped(centre - half, centre + half, shape)


def decode_distances(points: Tensor, distances: Tensor, shape: Sequence[int]) -> Tensor:
    """The boxes around points.

    Args:
        points: Points x, y (n, 2).
        distances: Distances from the left, upper, right and lower side (n, 4).
        shape: Height and width of the image.

    Returns:
        The boxes (n, 4), clipped to the image.
    """
    return _clipped(points - distances[:, :2], points + distances[:, 2:], shape)


def _clipped(start: Tensor, end: Tensor, shape: Sequence[int]) -> Tensor:
    (x1, y1), (x2, y2) = start.unbind(dim=1), end.unbind(dim=1)
    height, width = shape
    corners = [x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)]
    return torch.stack(corners, dim=1)


def keep_best(
    boxes: Tensor, scores: Tensor, groups: Tensor, cfg: dict, images: Tensor | None = None, number: int = 1
) -> Tensor:
    """Choose boxes by their size and by NMS.

    Args:
        boxes: Boxes (n, 4).
        scores: Their scores (n,).
        groups: As for :func:`suppress`.
        cfg: With ``min_bbox_size``, ``nms`` and ``max_per_img``.
        images: As for :func:`suppress`. Defaults to None.
        number: As for :func:`suppress`. Defaults to 1.

    Returns:
        Indices of those that remain, highest score of each image first.
    """
    smallest = cfg.get('min_bbox_size', -1)
    if smallest < 0:
        return suppress(boxes, scores, groups, cfg, images, number)
    large = (boxes[:, 2:] - boxes[:, :2] > smallest).all(dim=1).nonzero()[:, 0]
    images = None if images is None else images[large]
    return large[suppress(boxes[large], scores[large], groups[large], cfg, images, number)]


def suppress(
    boxes: Tensor, scores: Tensor, groups: Tensor, cfg: dict, images: Tensor | None = None, number: int = 1
) -> Tensor:
    """Choose boxes by NMS.

    Args:
        boxes: Boxes (n, 4).
        scores: Their scores (n,).
        groups: Levels or classes (n,). Boxes of different groups do not suppress each other, since each group is moved
            to its own region.
        cfg: With ``nms`` and ``max_per_img``.
        images: Which image each box is of (n,), which then comes first in the order. None means all of one. Defaults
            to None.
        number: Number of images. Defaults to 1.

    Returns:
        Indices of those that remain, highest score of each image first.
    """
    # With a zero, since an empty tensor has no maximum. The distance is mmdet's, so that sums are rounded as there.
    distance = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max() + 1
    moved = boxes + (groups * distance)[:, None]
    if images is None:
        return nms(moved, scores, cfg.nms.iou_threshold)[: cfg.max_per_img]
    # Boxes of one group and several images are moved along y alone, so that sums do not grow with both.
    moved = moved + F.pad((images * distance)[:, None], (1, 0)).repeat(1, 2)
    kept = nms(moved, scores, cfg.nms.iou_threshold)
    of = images[kept] == torch.arange(number, device=kept.device)[:, None]
    kept = kept[(of & (of.cumsum(dim=1) <= cfg.max_per_img)).nonzero()[:, 1]]
    # Which cuts nothing off, but tells the exporter how many there are at most.
    return kept[: number * cfg.max_per_img]


def unsupported_limits(name: str, cfg: dict, per_level: bool = False) -> Iterator[str]:
    """Settings of NMS that :func:`suppress` does not support.

    Args:
        name: Where in the model they are.
        cfg: The settings.
        per_level: Whether ``nms_pre`` limits the number of boxes of a level. Defaults to False.

    Yields:
        Each, in words.
    """
    if set(cfg.nms) != {'type', 'iou_threshold'} or cfg.nms.type != 'nms':
        yield f"{name}.nms={dict(cfg.nms)}, not dict(type='nms', iou_threshold=…)"
    for limit in ('max_per_img', 'nms_pre') if per_level else ('max_per_img',):
        if cfg.get(limit, -1) < 1:
            yield f'{name}.{limit}={cfg.get(limit, -1)}, not a limit'


def unsupported_scores(head: nn.Module) -> Iterator[str]:
    """Settings of a dense head that :func:`best_of_levels` does not support.

    Args:
        head: A dense head of mmdet.

    Yields:
        Each, in words.
    """
    if not head.use_sigmoid_cls or getattr(head.loss_cls, 'custom_cls_channels', False):
        yield 'a loss_cls whose activation is not the sigmoid'


def unsupported_coder(coder: nn.Module) -> Iterator[str]:
    """Settings of a box coder that the decoding does not support.

    Args:
        coder: A coder of mmdet.

    Yields:
        Each, in words.
    """
    if not coder.clip_border or getattr(coder, 'add_ctr_clamp', False):
        yield 'a bbox_coder without clip_border or with add_ctr_clamp'
