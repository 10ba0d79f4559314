"""What a latency covers beyond the backbone: the complete detector, or everything up to pasted masks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmfasternet.errors import UserError

from .detector import FIXED_PROPOSALS, FIXED_ROIS, fixed_boxes

__all__ = ['detector_forward', 'end2end_forward']

_Forward = Callable[[Tensor], object]


def detector_forward(model: nn.Module, shape: tuple[int, int], batch: int, device: str) -> _Forward:
    """Scope *detector*: every layer, with 1000 fixed proposals and 100 fixed RoIs per image, without NMS.

    Thus every model does the same work, whatever its weights.
    """
    proposals, masked = _rois(FIXED_PROPOSALS, shape, batch, device), _rois(FIXED_ROIS, shape, batch, device)
    roi_head = model.roi_head

    def forward(image: Tensor) -> tuple:
        maps = _contiguous(model.neck, (), model.neck(model.backbone(image)))
        outputs = (model.rpn_head(maps), roi_head._bbox_forward(maps, proposals))
        return (*outputs, roi_head._mask_forward(maps, masked)) if roi_head.with_mask else outputs

    return forward


def _rois(count: int, shape: tuple[int, int], batch: int, device: str) -> Tensor:
    """Fixed boxes of every image, as mmdet's RoI extractors take them: index of the image, then corners."""
    boxes = fixed_boxes(count, *shape, device)
    return torch.cat([torch.cat([boxes.new_full((count, 1), index), boxes], dim=1) for index in range(batch)])


def end2end_forward(model: nn.Module, shape: tuple[int, int], batch: int, force: bool) -> _Forward:
    """Scope *end2end*: from the preprocessed image to boxes after NMS and masks pasted at the image's size.

    With ``force``, the box head's outputs are replaced, after they are computed, by such that 100 detections an image
    come out. Random weights have none above the threshold, and then neither NMS nor masks would have anything to do.
    """
    # Imported here, since the other scopes work without mmdet's structures.
    from mmdet.structures import DetDataSample

    def forward(image: Tensor) -> list:
        padded = tuple(image.shape[2:])
        metainfo = dict(
            img_shape=shape, ori_shape=shape, pad_shape=padded, batch_input_shape=padded, scale_factor=(1.0, 1.0)
        )
        samples = [DetDataSample(metainfo=metainfo) for _ in range(batch)]
        handles = [model.neck.register_forward_hook(_contiguous)] if model.with_neck else []
        if force:
            handles.append(model.roi_head.bbox_head.register_forward_hook(_certain_scores))
        try:
            results = model.predict(image, samples, rescale=True)
        finally:
            for handle in handles:
                handle.remove()
        if force and any(len(result.pred_instances) != FIXED_ROIS for result in results):
            found = [len(result.pred_instances) for result in results]
            raise UserError(
                f'end2end should give {FIXED_ROIS} detections an image, but gives {found}: '
                f'test_cfg.rcnn should have max_per_img={FIXED_ROIS}, and the image be larger'
            )
        return results

    return forward


def _contiguous(neck: nn.Module, inputs: tuple, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A neck's feature maps in the default memory format, which mmcv's compiled RoIAlign takes for granted."""
    return tuple(out.contiguous() for out in maps)


def _certain_scores(head: nn.Module, inputs: tuple, outputs: tuple) -> tuple:
    """Replace a box head's outputs: proposal i has class i modulo the number of classes, and stays where it is."""
    scores, deltas = outputs
    index = torch.arange(len(scores), device=scores.device)
    # In half precision, a thousand logits between two numbers would not all differ.
    certain = torch.zeros_like(scores, dtype=torch.float32)
    # From 8 down to 6, so that scores are near 1 and have an order.
    certain[index, index % (scores.shape[1] - 1)] = 8 - 2 * index.float() / len(scores)
    return certain, torch.zeros_like(deltas)
