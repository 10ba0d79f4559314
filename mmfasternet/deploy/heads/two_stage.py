"""Detectors of two stages: an RPN's proposals, one or more box heads, and masks where there are mask heads."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules import AnchorGenerator, DeltaXYWHBBoxCoder
from torch import Tensor, nn

from .boxes import (
    best_of_levels,
    decode_deltas,
    keep_best,
    suppress,
    unsupported_coder,
    unsupported_limits,
    unsupported_scores,
)
from .detector import DetectorGraph
from .rois import paste, pool, unsupported_layers

__all__ = ['TwoStageGraph']


class TwoStageGraph(DetectorGraph):
    """A graph of a detector of two stages; the arguments are those of :class:`Graph`."""

    kinds = {
        'data_preprocessor': (DetDataPreprocessor,),
        'rpn_head': (RPNHead,),
        'rpn_head.prior_generator': (AnchorGenerator,),
        'rpn_head.bbox_coder': (DeltaXYWHBBoxCoder,),
        'roi_head.bbox_head': (ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead),
        'roi_head.bbox_head.bbox_coder': (DeltaXYWHBBoxCoder,),
        'roi_head.bbox_roi_extractor': (SingleRoIExtractor,),
        'roi_head.mask_head': (FCNMaskHead,),
        'roi_head.mask_roi_extractor': (SingleRoIExtractor,),
    }

    # Whether masks are probabilities (n, h, w) of their boxes, and not pasted into the image.
    small_masks = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is found in an image."""
        return (
            ('boxes', 'scores', 'labels', 'masks') if self.model.roi_head.with_mask else ('boxes', 'scores', 'labels')
        )

    @property
    def limits(self) -> dict:
        """The settings of the last NMS."""
        return self.model.roi_head.test_cfg

    @property
    def num_classes(self) -> int:
        """Number of the last box head's classes."""
        return _stages(self.model, 'bbox')[-1][1].num_classes

    @property
    def facts(self) -> dict[str, float]:
        """The lowest score of an object and, of small masks, the lowest probability of its pixels."""
        small = dict(mask_thr=self.limits.mask_thr_binary) if self.small_masks else {}
        return dict(super().facts, **small)

    @property
    def heads(self) -> list[nn.Module]:
        """The RPN's head, the box heads and the mask heads."""
        heads = [head for _, head in [*_stages(self.model, 'bbox'), *_stages(self.model, 'mask')]]
        return [self.model.rpn_head, *heads]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Detect objects in an image.

        Args:
            image: Red, green and blue from 0 to 255, float32 of shape (N, 3, H, W), H and W at least 32 pixels; N is 1
                unless the graph is batched.

        Returns:
            Boxes x1, y1, x2, y2 in pixels (n, 4), scores (n,), highest first, labels (n,), and, with a mask head,
            boolean masks (n, H, W), or with ``small_masks`` probabilities (n, h, w); if batched, images (n,), in whose
            order the others are.
        """
        shape = image.shape[2:]
        maps = self.features(image)
        boxes, images = self._propose(maps, shape)
        boxes, scores, labels, images = self._detect(maps, boxes, images, shape)
        found = [boxes, scores, labels]
        if self.model.roi_head.with_mask:
            found.append(self._segment(maps, boxes, labels, images, shape))
        return (*found, images) if self.batched else tuple(found)

    def _propose(self, maps: Sequence[Tensor], shape: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """The RPN's proposals (n, 4), highest score first, and if there are several images, which each is of (n,)."""
        head, cfg = self.model.rpn_head, self.model.test_cfg.rpn
        anchors, deltas, scores, _, levels, images = best_of_levels(head, head(maps), cfg.nms_pre)
        boxes = decode_deltas(head.bbox_coder, anchors, deltas, shape)
        images = images if self.batched else None
        kept = keep_best(boxes, scores, levels, cfg, images, maps[0].shape[0])
        return boxes[kept], _rows_of(images, kept)

    def _detect(
        self, maps: Sequence[Tensor], boxes: Tensor, images: Tensor | None, shape: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Boxes, scores, labels and images of the box heads, after NMS class by class."""
        cfg = self.limits
        stages, logits = _stages(self.model, 'bbox'), []
        for extractor, head in stages[:-1]:
            found, deltas = head(pool(extractor, maps, boxes, images))
            logits.append(found)
            # A stage starts from the boxes of the one before, each as of its most likely class.
            labels = found[:, :-1].argmax(dim=1)
            rows = torch.arange(labels.shape[0], device=labels.device)
            boxes = decode_deltas(head.bbox_coder, boxes, _of_classes(head, deltas, rows, labels), shape)
        extractor, head = stages[-1]
        found, deltas = head(pool(extractor, maps, boxes, images))
        # The last class is the background.
        scores = _mean([*logits, found]).softmax(dim=1)[:, :-1]
        rows, labels = (scores > cfg.score_thr).nonzero(as_tuple=True)
        scores = scores[rows, labels]
        boxes = decode_deltas(head.bbox_coder, boxes[rows], _of_classes(head, deltas, rows, labels), shape)
        images = _rows_of(images, rows)
        kept = suppress(boxes, scores, labels, cfg, images, maps[0].shape[0])
        return boxes[kept], scores[kept], labels[kept], _rows_of(images, kept)

    def _segment(
        self, maps: Sequence[Tensor], boxes: Tensor, labels: Tensor, images: Tensor | None, shape: Sequence[int]
    ) -> Tensor:
        """Masks of the boxes."""
        masks = []
        for extractor, head in _stages(self.model, 'mask'):
            logits = head(pool(extractor, maps, boxes, images))
            channels = torch.zeros_like(labels) if head.class_agnostic else labels
            masks.append(logits[torch.arange(labels.shape[0], device=labels.device), channels].sigmoid())
        return _mean(masks) if self.small_masks else self._pasted(_mean(masks), boxes, shape)

    def _pasted(self, masks: Tensor, boxes: Tensor, shape: Sequence[int]) -> Tensor:
        return paste(masks, boxes, shape) >= self.limits.mask_thr_binary

    def check(self, found: Sequence[np.ndarray], expected: Sequence[np.ndarray], precision: str) -> str:
        """As for all detectors; small masks are pasted first."""
        if self.small_masks:
            boxes, scores, labels, masks = found
            pasted = self._pasted(*map(torch.from_numpy, (masks, boxes)), expected[3].shape[1:])
            found = [boxes, scores, labels, pasted.numpy()]
        return super().check(found, expected, precision)

    def obstacles(self, model: nn.Module) -> Iterator[str]:
        """Settings of the heads, of RoIAlign and of NMS that these steps do not support."""
        roi_head, rcnn = model.roi_head, model.test_cfg.rcnn
        if not model.with_rpn:
            yield 'no rpn_head'
        if roi_head.with_shared_head:
            yield 'a head that boxes and masks share'
        yield from unsupported_limits('test_cfg.rpn', model.test_cfg.rpn, per_level=True)
        yield from unsupported_limits('test_cfg.rcnn', rcnn)
        if roi_head.with_mask and rcnn.mask_thr_binary < 0:
            yield f'test_cfg.rcnn.mask_thr_binary={rcnn.mask_thr_binary}, which means masks of gray levels'
        yield from unsupported_scores(model.rpn_head)
        yield from unsupported_coder(model.rpn_head.bbox_coder)
        for _, head in _stages(model, 'bbox'):
            if head.custom_cls_channels:
                yield 'a loss_cls whose activation is not the softmax'
            yield from unsupported_coder(head.bbox_coder)
        for extractor, _ in [*_stages(model, 'bbox'), *_stages(model, 'mask')]:
            yield from unsupported_layers(extractor)


def _stages(model: nn.Module, of: str) -> list[tuple[nn.Module, nn.Module]]:
    """The extractor and the head of each stage, for boxes or masks; of a cascade there are several."""
    if of == 'mask' and not model.roi_head.with_mask:
        return []
    parts = [getattr(model.roi_head, f'{of}_{part}') for part in ('roi_extractor', 'head')]
    return list(zip(*(part if isinstance(part, nn.ModuleList) else [part] for part in parts), strict=True))


def _of_classes(head: nn.Module, deltas: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
    """Deltas (n, 4) of these rows and classes; a head may have the same ones for all classes."""
    return deltas[rows] if head.reg_class_agnostic else deltas.unflatten(1, (head.num_classes, 4))[rows, labels]


def _rows_of(images: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if images is None else images[rows]


def _mean(values: Sequence[Tensor]) -> Tensor:
    """Their mean, rounded as by mmdet; of a single one there is none to take."""
    return values[0] if len(values) == 1 else sum(values) / len(values)
