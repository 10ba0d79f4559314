"""A detector in an exported file, in whatever runtime it is open."""

import numpy as np

from mmfasternet.errors import UserError
from mmfasternet.predictions.exported_file import ExportedFile
from mmfasternet.predictions.onnx_predictors import Objects, onnx_predictor

__all__ = ['ExportedDetector']


class ExportedDetector:
    """An exported file as a detector.

    Args:
        file: The open file.

    Raises:
        UserError: If it is no detector.
    """

    def __init__(self, file: ExportedFile) -> None:
        if file.metadata.task != 'detection':
            raise UserError(f'{file.path} is for {file.metadata.task}; artifacts are compared by AP: give detectors')
        self.file, self.classes = file, file.metadata.classes
        self._predictor = onnx_predictor(file, score_thr=0)

    def __call__(self, image: np.ndarray) -> Objects:
        return self._predictor.predict([image])[0]
