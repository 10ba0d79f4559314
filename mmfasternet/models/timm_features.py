"""A network of timm as a backbone, with timm's own files as its weights.

Import this module to register it; ``import mmfasternet`` does not, because timm is optional.
"""

import re
from importlib.util import find_spec
from pathlib import Path

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfasternet.weights.initialize import is_pretrained, pretrained_by
from mmfasternet.weights.reader import read_checkpoint
from mmfasternet.weights.state_dict import drop_classifier, load_exactly, unwrap

# Looked for rather than caught: load_config shows the innermost error of an import, which should be this one.
if find_spec('timm') is None:
    raise ImportError("TimmFeatures needs timm, which is not installed: pip install 'mmfasternet[compare]'")
import timm

__all__ = ['TimmFeatures']


@MODELS.register_module()
class TimmFeatures(BaseModule):
    """A network of timm as a backbone that gives one feature map per stage, at strides 4, 8, 16 and 32.

    Args:
        arch: timm's name of the network, such as 'repvit_m1_1'.
        norm_eval: Whether every BN keeps its running statistics in training. Defaults to False.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` takes a path or URL of timm's file of the network, and
            fails unless every entry fits, except for those of the classifier; ``trust=True`` reads a file that is
            refused. None means timm's own random initialization. Defaults to None.

    Raises:
        ValueError: If timm has no such network, or its feature maps have other strides.
        TypeError: If ``init_cfg`` is anything else.

    Example:
        >>> import torch
        >>> from mmfasternet.models.timm_features import TimmFeatures
        >>> model = TimmFeatures('repvit_m1_1').eval()
        >>> for out in model(torch.rand(1, 3, 224, 320)):
        ...     print(tuple(out.shape))
        (1, 64, 56, 80)
        (1, 128, 28, 40)
        (1, 256, 14, 20)
        (1, 512, 7, 10)
    """

    def __init__(self, arch: str, norm_eval: bool = False, init_cfg: dict | None = None) -> None:
        if init_cfg is not None and not (isinstance(init_cfg, dict) and is_pretrained(init_cfg)):
            raise TypeError(f"init_cfg must be None or dict(type='Pretrained', checkpoint=...), but got {init_cfg!r}")
        super().__init__(init_cfg)
        if not timm.is_model(arch):
            raise ValueError(f"arch must be one of timm's networks, see timm.list_models(), but got {arch!r}")
        self.arch = arch
        self.norm_eval = norm_eval
        self.body = timm.create_model(arch, features_only=True, pretrained=False)
        if (strides := self.body.feature_info.reduction()) != [4, 8, 16, 32]:
            raise ValueError(
                f'arch must give feature maps at strides 4, 8, 16 and 32, but {arch!r} gives them at {strides}'
            )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of the four stages.

        Args:
            x: Images of shape (N, 3, H, W).

        Returns:
            One feature map per stage, in order.
        """
        return tuple(self.body(x))

    def train(self, mode: bool = True) -> 'TimmFeatures':
        """Set the mode, except where ``norm_eval`` keeps evaluation mode.

        Args:
            mode: Training mode (True) or evaluation mode (False). Defaults to True.

        Returns:
            The model itself.
        """
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, see there.

        Raises:
            CheckpointError: If the file can't be read, is refused, or does not fit the network.
        """
        with pretrained_by(_load_features, self):
            super().init_weights()


def _load_features(model: TimmFeatures, checkpoint: str | Path, trust: bool = False) -> None:
    """Load all but the classifier of a file of timm's."""
    found = drop_classifier(unwrap(read_checkpoint(checkpoint, trust=trust), str(checkpoint)))
    renamed = {_feature_key(key, model.body): value for key, value in found.items()}
    load_exactly(model.body, renamed, str(checkpoint), f"timm's {model.arch}")


def _feature_key(key: str, body: nn.ModuleDict) -> str:
    """The name that ``features_only`` gives to an entry of the classifier: stages.0 becomes stages_0."""
    flat = re.sub(r'^(\w+)\.(\d+)\.', r'\1_\2.', key)
    return flat if flat.partition('.')[0] in body else key
