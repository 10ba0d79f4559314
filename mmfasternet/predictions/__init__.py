"""What models predict of images, as entries of a JSON and as drawings; and models in ONNX files, which need no torch.

Nothing in this folder imports torch.
"""

from .base import Predictor, drawn_name
from .classification import RankingPredictor
from .coco import to_coco
from .segmentation import MapPredictor, SemanticMap
from .writing import write_predictions

__all__ = [
    'MapPredictor',
    'Predictor',
    'RankingPredictor',
    'SemanticMap',
    'drawn_name',
    'to_coco',
    'write_predictions',
]
