"""Detectors of one stage: a head that looks at every place of every level, and NMS."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from .boxes import best_of_levels, keep_best, unsupported_coder, unsupported_limits, unsupported_scores
from .detector import OneHeadGraph

__all__ = ['DenseGraph']


class DenseGraph(OneHeadGraph):
    """A graph of a detector of one stage; the arguments are those of :class:`Graph`."""

    @property
    def decoding(self) -> dict[str, Any] | None:
        """What boxes, scores and labels are made of the head's maps by, for runtimes that stop at these.

        :class:`~mmfasternet.predictions.dense.Decoding` says what each setting means.
        """
        limits = self.limits
        return dict(
            self.coding,
            nms_pre=limits.nms_pre,
            score_thr=limits.get('score_thr', 0),
            min_bbox_size=limits.get('min_bbox_size', -1),
            iou_threshold=limits.nms.iou_threshold,
            max_per_img=limits.max_per_img,
        )

    @property
    def coding(self) -> dict[str, Any]:
        """The part of ``decoding`` that says where boxes begin, and what moves them."""
        raise NotImplementedError

    def maps(self, image: Tensor) -> Sequence[Sequence[Tensor]]:
        """What the head gives of images: for each level logits of classes, then deltas, then anything else."""
        return self.model.bbox_head(self.features(image))

    def decode(self, coder: object, priors: Tensor, deltas: Tensor, shape: Sequence[int]) -> Tensor:
        """The boxes (n, 4) that the head's outputs mean, clipped to the image."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Detect objects in an image.

        Args:
            image: Red, green and blue from 0 to 255, float32 of shape (N, 3, H, W), H and W at least 32 pixels; N is 1
                unless the graph is batched.

        Returns:
            Boxes x1, y1, x2, y2 in pixels (n, 4), scores (n,), highest first, labels (n,); if batched, images (n,), in
            whose order the others are.
        """
        found, images, _ = self.detect(self.maps(image), image.shape)
        return (*found, images) if self.batched else found

    def detect(
        self, outputs: Sequence[Sequence[Tensor]], shape: Sequence[int]
    ) -> tuple[tuple[Tensor, ...], Tensor, list[Tensor]]:
        """Boxes, scores and labels; their images; and priors, levels and what else the head gives of them."""
        head, cfg = self.model.bbox_head, self.model.bbox_head.test_cfg
        found = best_of_levels(head, outputs, cfg.nms_pre)
        sure = (found[2] > cfg.get('score_thr', 0)).nonzero()[:, 0]
        priors, deltas, scores, labels, levels, images, *others = (values[sure] for values in found)
        scores = self.weigh(scores, *others)
        boxes = self.decode(head.bbox_coder, priors, deltas, shape[2:])
        kept = keep_best(boxes, scores, labels, cfg, images if self.batched else None, shape[0])
        detected = boxes[kept], scores[kept], labels[kept]
        return detected, images[kept], [values[kept] for values in (priors, levels, *others)]

    def weigh(self, scores: Tensor, *factors: Tensor) -> Tensor:
        """The scores (n,), weighted by factors (n, 1) that a head may give."""
        for factor in factors:
            scores = scores * factor[:, 0].sigmoid()
        return scores

    def obstacles(self, model: nn.Module) -> Iterator[str]:
        """Settings of the head and of NMS that these steps do not support."""
        yield from unsupported_limits('test_cfg', model.bbox_head.test_cfg, per_level=True)
        yield from unsupported_scores(model.bbox_head)
        yield from unsupported_coder(model.bbox_head.bbox_coder)
