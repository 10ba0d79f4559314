"""FasterNet as the backbone of a model of ultralytics: import this module, then build or load the model.

import fasternet_ultralytics
from ultralytics import YOLO

YOLO('docs/examples/yolo_fasternet_t0.yaml').train(data='coco8.yaml', epochs=1, imgsz=640)

It trains in one process: those that ultralytics starts for several GPUs do not import this module.
"""

from pathlib import Path

import ultralytics.nn.tasks
from mmengine.model import initialize
from torch import Tensor, nn

from mmfasternet import FasterNet
from mmfasternet.weights import load_pretrained

__all__ = ['FasterNetMaps']


class FasterNetMaps(nn.Module):
    """Feature maps of strides 8, 16 and 32; a layer ``Index`` takes one, by its channels and its place.

    Args:
        name: The variant, 'fasternet_t0' to 'fasternet_l'.
        checkpoint: Weights in any form that mmfasternet reads. None keeps random ones. Defaults to None.
    """

    def __init__(self, name: str, checkpoint: str | Path | None = None) -> None:
        super().__init__()
        # A bare 'm' in the YAML would be replaced by a variable of its parser.
        self.network = FasterNet(name.removeprefix('fasternet_'), out_indices=(1, 2, 3))
        initialize(self.network, self.network.init_cfg)
        if checkpoint is not None:
            load_pretrained(self.network, checkpoint)

    def forward(self, image: Tensor) -> list[Tensor]:
        return list(self.network(image))


# The names in a YAML are looked up there.
ultralytics.nn.tasks.FasterNetMaps = FasterNetMaps
