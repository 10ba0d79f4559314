"""Classifiers of mmpretrain."""

import numpy as np
from mmengine.config import Config

from mmfasternet.predictions import RankingPredictor

from .forward import Forward

__all__ = ['ClassificationPredictor']

_TOP = 5


class ClassificationPredictor(RankingPredictor):
    """A classifier: ``vis/``, and up to five classes of each image; the arguments are those of :class:`Forward`."""

    def __init__(self, cfg: Config, checkpoint: str, device: str | None, score_thr: float) -> None:
        self._forward = Forward(cfg, checkpoint, device)
        super().__init__(self._forward.classes(self._forward.model.head.num_classes))

    def predict(self, images: list[np.ndarray]) -> list[list[tuple[int, float]]]:
        tops = []
        for sample in self._forward(images):
            top = sample.pred_score.topk(min(_TOP, len(self.classes)))
            tops.append(list(zip(top.indices.tolist(), top.values.tolist(), strict=True)))
        return tops
