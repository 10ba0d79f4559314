"""Detectors of mmdet."""

from pathlib import Path
from typing import Any

import numpy as np
from mmdet.apis import DetInferencer
from mmengine.config import Config
from PIL import Image
from torch import nn

from mmfasternet.predictions import Predictor, to_coco
from mmfasternet.weights.reader import use_safe_reader
from mmfasternet.weights.state_dict import check_whole_model, unwrap

__all__ = ['DetectionPredictor', 'StrictDetInferencer']


class StrictDetInferencer(DetInferencer):
    """mmdet's ``DetInferencer`` that reads checkpoints safely, and fails if one lacks an entry of the model.

    Its arguments are those of ``DetInferencer``.

    Raises:
        CheckpointError: If the checkpoint can't be read or does not fit the detector.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        use_safe_reader()
        super().__init__(*args, **kwargs)

    def _load_weights_to_model(self, model: nn.Module, checkpoint: dict | None, cfg: Config) -> None:
        if checkpoint is not None:
            check_whole_model(model, unwrap(checkpoint, 'checkpoint'), 'checkpoint', heads_may_differ=False)
        super()._load_weights_to_model(model, checkpoint, cfg)


class DetectionPredictor(Predictor):
    """A detector: ``vis/``, and ``images``, ``annotations`` and ``categories`` as COCO has them."""

    lists = ('images', 'annotations')

    def __init__(self, cfg: Config, checkpoint: str, device: str | None, score_thr: float) -> None:
        self.inferencer = StrictDetInferencer(cfg, checkpoint, device, show_progress=False)
        self.score_thr = score_thr

    def predict(self, images: list[np.ndarray]) -> list[Any]:
        return self.inferencer(images, batch_size=len(images), return_datasamples=True)['predictions']

    def facts(self) -> dict[str, Any]:
        return dict(categories=to_coco([], {}, self.inferencer.model.dataset_meta['classes'], 0)['categories'])

    def entries(self, path: Path, image: np.ndarray, found: Any) -> dict[str, list[dict]]:
        height, width = image.shape[:2]
        prediction = self.inferencer.pred2dict(found)
        coco = to_coco([prediction], {path: (width, height)}, (), self.score_thr)
        return {key: coco[key] for key in self.lists}

    def drawings(self, path: Path, image: np.ndarray, found: Any) -> dict[str, Image.Image]:
        visualizer = self.inferencer.visualizer
        visualizer.add_datasample(path.name, image[:, :, ::-1], found, draw_gt=False, pred_score_thr=self.score_thr)
        return dict(vis=Image.fromarray(visualizer.get_image()))
