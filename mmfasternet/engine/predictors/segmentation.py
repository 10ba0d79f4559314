"""Segmentors of mmseg."""

import numpy as np
import torch
from mmengine.config import Config

from mmfasternet.predictions import MapPredictor, SemanticMap

from .forward import Forward

__all__ = ['SegmentationPredictor']


class SegmentationPredictor(MapPredictor):
    """A segmentor: ``vis/``, ``maps/`` and the classes' shares; the arguments are those of :class:`Forward`."""

    def __init__(self, cfg: Config, checkpoint: str, device: str | None, score_thr: float) -> None:
        self._forward = Forward(cfg, checkpoint, device)
        super().__init__(self._forward.classes(self._forward.model.num_classes), self._forward.meta.get('palette'))

    def predict(self, images: list[np.ndarray]) -> list[SemanticMap]:
        maps = []
        for sample in self._forward(images):
            labels = sample.pred_sem_seg.data[0].to('cpu', torch.uint8).numpy()
            maps.append(SemanticMap(labels, bool(sample.seg_logits.data.isfinite().all())))
        return maps
