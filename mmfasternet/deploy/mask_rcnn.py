"""Mask R-CNN's inference as one graph of ONNX's own operators, from an image's pixels to pasted masks."""

import math
from collections.abc import Iterator, Sequence
from operator import attrgetter

import torch
from mmcv.ops import RoIAlign
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.dense_heads import RPNHead
from mmdet.models.detectors import MaskRCNN
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules import AnchorGenerator, DeltaXYWHBBoxCoder
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms, roi_align

from mmfasternet.errors import UserError

__all__ = ['MaskRCNNGraph']

# The parts that the steps are written for, in the order in which they are checked. A subclass may do anything else.
_KINDS = {
    'data_preprocessor': (DetDataPreprocessor,),
    'rpn_head': (RPNHead,),
    'rpn_head.prior_generator': (AnchorGenerator,),
    'rpn_head.bbox_coder': (DeltaXYWHBBoxCoder,),
    'roi_head': (StandardRoIHead,),
    'roi_head.bbox_head': (ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead),
    'roi_head.bbox_head.bbox_coder': (DeltaXYWHBBoxCoder,),
    'roi_head.bbox_roi_extractor': (SingleRoIExtractor,),
    'roi_head.mask_head': (FCNMaskHead,),
    'roi_head.mask_roi_extractor': (SingleRoIExtractor,),
}
# mmdet's wh_ratio_clip: a box grows or shrinks by at most this factor.
_MAX_LOG_RATIO = abs(math.log(16 / 1000))


class MaskRCNNGraph(nn.Module):
    """What mmdet's ``MaskRCNN.predict`` computes for one image, without its lists, structures and branches.

    The learned parts and all settings are the model's. The steps between them are rewritten, since mmdet's need sizes
    that a graph does not know in advance.

    Args:
        model: A Mask R-CNN of mmdet in evaluation mode.

    Raises:
        UserError: If a part of it is of a kind that these steps are not written for.

    Example:
        >>> from mmfasternet.engine.build import build_model
        >>> graph = MaskRCNNGraph(build_model('configs/mask_rcnn_fasternet_t0.py')[1])
        >>> with torch.no_grad():
        ...     boxes, scores, labels, masks = graph(255 * torch.rand(1, 3, 96, 128))
        >>> boxes.shape[1], masks.shape[1:]
        (4, torch.Size([96, 128]))
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        _check_parts(model)
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Detect objects in an image.

        Args:
            image: Red, green and blue from 0 to 255, float32 of shape (1, 3, H, W), H and W at least 32 pixels.

        Returns:
            Boxes x1, y1, x2, y2 in pixels (n, 4), scores (n,), highest first, labels (n,), boolean masks (n, H, W).
        """
        shape = image.shape[2:]
        maps = self.model.neck(self.model.backbone(self._normalize(image)))
        proposals = self._propose(maps, shape)
        boxes, scores, labels = self._detect(maps, proposals, shape)
        return boxes, scores, labels, self._segment(maps, boxes, labels, shape)

    def _normalize(self, image: Tensor) -> Tensor:
        """Normalize as the model's data preprocessor does, and pad on the right and below."""
        preprocessor = self.model.data_preprocessor
        # Configs load images as blue, green, red: without a conversion the model was trained on that order.
        if not preprocessor._channel_conversion:
            image = image.flip(1)
        if preprocessor._enable_normalize:
            image = (image - preprocessor.mean) / preprocessor.std
        divisor = preprocessor.pad_size_divisor
        height, width = image.shape[2:]
        return F.pad(image, (0, -width % divisor, 0, -height % divisor), value=preprocessor.pad_value)

    def _propose(self, maps: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
        """The RPN's proposals (n, 4), highest score first."""
        head, cfg = self.model.rpn_head, self.model.test_cfg.rpn
        boxes, scores, levels = [], [], []
        for level, (logits, deltas) in enumerate(zip(*head(maps), strict=True)):
            anchors = head.prior_generator.single_level_grid_priors(logits.shape[2:], level, device=logits.device)
            score = logits[0].permute(1, 2, 0).flatten().sigmoid()
            deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)
            score, best = score.topk(torch.sym_min(cfg.nms_pre, score.shape[0]))
            boxes.append(_decode(head.bbox_coder, anchors[best], deltas[best], shape))
            scores.append(score)
            levels.append(torch.full_like(best, level))
        boxes, scores, levels = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
        large = (boxes[:, 2:] - boxes[:, :2] > cfg.get('min_bbox_size', -1)).all(dim=1).nonzero()[:, 0]
        boxes = boxes[large]
        return boxes[_suppress(boxes, scores[large], levels[large], cfg)]

    def _detect(self, maps: Sequence[Tensor], proposals: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, scores and labels of the box head, after NMS class by class."""
        head, cfg = self.model.roi_head.bbox_head, self.model.test_cfg.rcnn
        logits, deltas = head(_pool(self.model.roi_head.bbox_roi_extractor, maps, proposals))
        # The last class is the background.
        scores = logits.softmax(dim=1)[:, :-1]
        rows, labels = (scores > cfg.score_thr).nonzero(as_tuple=True)
        scores = scores[rows, labels]
        deltas = deltas[rows] if head.reg_class_agnostic else deltas.unflatten(1, (head.num_classes, 4))[rows, labels]
        boxes = _decode(head.bbox_coder, proposals[rows], deltas, shape)
        kept = _suppress(boxes, scores, labels, cfg)
        return boxes[kept], scores[kept], labels[kept]

    def _segment(self, maps: Sequence[Tensor], boxes: Tensor, labels: Tensor, shape: Sequence[int]) -> Tensor:
        """Boolean masks (n, H, W) of the boxes."""
        head = self.model.roi_head.mask_head
        logits = head(_pool(self.model.roi_head.mask_roi_extractor, maps, boxes))
        channels = torch.zeros_like(labels) if head.class_agnostic else labels
        masks = logits[torch.arange(labels.shape[0], device=labels.device), channels].sigmoid()
        return _paste(masks, boxes, shape) >= self.model.test_cfg.rcnn.mask_thr_binary


def _check_parts(model: nn.Module) -> None:
    """Make sure that the steps are written for the model's parts and settings."""
    refusal = (
        'the complete detector can be exported only for Mask R-CNN with a neck, RPNHead, StandardRoIHead and '
        'FCNMaskHead (--part backbone and --part neck take any), but '
    )
    if type(model) is not MaskRCNN:
        raise UserError(f'{refusal}this is a {type(model).__name__}')
    if not (model.with_neck and model.with_mask) or model.roi_head.with_shared_head:
        raise UserError(f'{refusal}this one has no neck, no mask head, or a head that boxes and masks share')
    for name, kinds in _KINDS.items():
        part = attrgetter(name)(model)
        if type(part) not in kinds:
            raise UserError(f'{refusal}its {name} is a {type(part).__name__}, not {kinds[0].__name__}')
    for wrong in _unsupported_settings(model):
        raise UserError(f'{refusal}it has {wrong}')


def _unsupported_settings(model: nn.Module) -> Iterator[str]:
    """Settings of these parts that the steps do not support."""
    rpn, rcnn = model.test_cfg.rpn, model.test_cfg.rcnn
    for name, cfg in (('rpn', rpn), ('rcnn', rcnn)):
        if set(cfg.nms) != {'type', 'iou_threshold'} or cfg.nms.type != 'nms':
            yield f"test_cfg.{name}.nms={dict(cfg.nms)}, not dict(type='nms', iou_threshold=…)"
        if cfg.max_per_img < 1:
            yield f'test_cfg.{name}.max_per_img={cfg.max_per_img}, not a limit'
    if rpn.get('nms_pre', -1) < 1:
        yield f'test_cfg.rpn.nms_pre={rpn.get("nms_pre", -1)}, not a limit'
    if rcnn.mask_thr_binary < 0:
        yield f'test_cfg.rcnn.mask_thr_binary={rcnn.mask_thr_binary}, which means masks of grey levels'
    if not model.rpn_head.use_sigmoid_cls or model.roi_head.bbox_head.custom_cls_channels:
        yield 'a loss_cls with another activation than the sigmoid of the RPN and the softmax of the box head'
    for coder in (model.rpn_head.bbox_coder, model.roi_head.bbox_head.bbox_coder):
        if not coder.clip_border or coder.add_ctr_clamp:
            yield 'a bbox_coder without clip_border or with add_ctr_clamp'
    for extractor in (model.roi_head.bbox_roi_extractor, model.roi_head.mask_roi_extractor):
        for layer in extractor.roi_layers:
            if not isinstance(layer, RoIAlign) or layer.pool_mode != 'avg':
                yield f'the roi_layer {layer}, not RoIAlign that averages'


def _decode(coder: DeltaXYWHBBoxCoder, boxes: Tensor, deltas: Tensor, shape: Sequence[int]) -> Tensor:
    """The boxes (n, 4), moved and stretched by the deltas (n, 4), clipped to the image."""
    deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) * 0.5 + size * deltas[:, :2]
    half = size * deltas[:, 2:].clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp() * 0.5
    (x1, y1), (x2, y2) = (centre - half).unbind(dim=1), (centre + half).unbind(dim=1)
    height, width = shape
    corners = [x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)]
    return torch.stack(corners, dim=1)


def _suppress(boxes: Tensor, scores: Tensor, groups: Tensor, cfg: dict) -> Tensor:
    """Indices of the boxes that NMS keeps, highest score first.

    Boxes of different groups (levels or classes) do not suppress each other, since each group is moved to its
    own region.
    """
    # With a zero, since an empty tensor has no maximum. The distance is mmdet's, so that sums are rounded as there.
    distance = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max() + 1
    return nms(boxes + (groups * distance)[:, None], scores, cfg.nms.iou_threshold)[: cfg.max_per_img]


def _pool(extractor: SingleRoIExtractor, maps: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """RoIAlign's features of each box (n, C, h, w), from the level of the pyramid that fits the box's size."""
    layers = extractor.roi_layers
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    scale = area.sqrt() / extractor.finest_scale + 1e-6
    # The level is log2 of the scale, rounded down; comparisons do not depend on how a runtime computes a logarithm.
    level = (scale[:, None] >= 2.0 ** torch.arange(1, len(layers), device=boxes.device)).sum(dim=1)
    pooled = boxes.new_zeros(boxes.shape[0], extractor.out_channels, *layers[0].output_size)
    for i, layer in enumerate(layers):
        rows = (level == i).nonzero()[:, 0]
        # The index of the image precedes the corners; it is 0, since there is one image.
        rois = F.pad(boxes[rows], (1, 0))
        pooled[rows] = roi_align(
            maps[i], rois, layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned
        )
    return pooled


def _paste(masks: Tensor, boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Masks (n, h, w), each stretched over its box, zero outside: (n, H, W).

    Bilinear interpolation is a weighting along y and one along x, and so two matrix products; a sampling grid over the
    complete image would take twice the memory of the result.
    """
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    along_y = _interpolation(y1, y2, masks.shape[1], shape[0])
    along_x = _interpolation(x1, x2, masks.shape[2], shape[1])
    return along_y @ masks @ along_x.transpose(1, 2)


def _interpolation(start: Tensor, end: Tensor, cells: int, pixels: int) -> Tensor:
    """The weight of each cell between start and end (n,) in each pixel of the image: (n, pixels, cells)."""
    centres = torch.arange(pixels, device=start.device) + 0.5
    position = (centres - start[:, None]) / (end - start)[:, None] * cells - 0.5
    return (1 - (position[:, :, None] - torch.arange(cells, device=start.device)).abs()).clamp(min=0)
