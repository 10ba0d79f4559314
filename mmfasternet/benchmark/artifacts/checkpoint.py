"""A detector as it was trained, in eager PyTorch: the reference of its exported files."""

from pathlib import Path

import numpy as np

from mmfasternet.engine.config import load_config
from mmfasternet.engine.predictors.forward import Forward
from mmfasternet.predictions.onnx_predictors import Objects

__all__ = ['CheckpointDetector']


class CheckpointDetector:
    """A checkpoint with its config as a detector, on the CPU.

    Args:
        path: The checkpoint.
        config: Its config.

    Raises:
        CheckpointError: If it can't be read or does not fit the config's model.
    """

    def __init__(self, path: str | Path, config: str | Path) -> None:
        self._forward = Forward(load_config(config), str(path), 'cpu')
        self.classes = [str(name) for name in self._forward.meta.get('classes') or ()]

    def __call__(self, image: np.ndarray) -> Objects:
        found = self._forward([image])[0].pred_instances
        masks = list(found.masks.numpy()) if 'masks' in found else None
        return Objects(found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy(), masks)
