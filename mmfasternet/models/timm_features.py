"""A timm network as a backbone, with timm's own files as its weights.

Importing this registers it; ``import mmfasternet`` does not, because timm is optional.
"""

import re
from importlib.util import find_spec
from pathlib import Path

from mmengine.model import BaseModule, update_init_info
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfasternet.weights.state_dict import CLASSIFIER, CheckpointError, compare, read_checkpoint, unwrap

from .fasternet import is_pretrained

# Not by catching what the import raises: load_config shows the innermost error, which shall be this one.
if find_spec('timm') is None:
    raise ImportError("TimmFeatures needs timm, which is not installed: pip install 'mmfasternet[compare]'")
import timm

__all__ = ['TimmFeatures']


class TimmPretrainedInit:
    """``init_cfg=dict(type='Pretrained', ...)`` of a TimmFeatures: loads a classifier's file, whole or not at all."""

    def __init__(self, checkpoint: str | Path, trust: bool = False) -> None:
        self.checkpoint = checkpoint
        self.trust = trust

    def __call__(self, module: 'TimmFeatures') -> None:
        state_dict = unwrap(read_checkpoint(self.checkpoint, trust=self.trust), str(self.checkpoint))
        taken = {
            feature_key(key, module.body): value for key, value in state_dict.items() if not key.startswith(CLASSIFIER)
        }
        if problems := compare(taken, module.body.state_dict()):
            raise CheckpointError(f"{self.checkpoint} does not fit timm's {module.arch}: {'; '.join(problems)}")
        module.body.load_state_dict(taken)
        update_init_info(module, init_info=f'timm pre-trained: {self.checkpoint}')


def feature_key(key: str, body: nn.ModuleDict) -> str:
    """What ``features_only`` calls an entry of the classifier: stages.0 is stages_0 there."""
    flat = re.sub(r'^(\w+)\.(\d+)\.', r'\1_\2.', key)
    return flat if flat.partition('.')[0] in body else key


@MODELS.register_module()
class TimmFeatures(BaseModule):
    """A network of timm as a backbone that gives the last map of each of four stages, at strides 4, 8, 16 and 32.

    Args:
        arch: timm's name of the network, such as 'repvit_m1_1'.
        norm_eval: Whether every BN keeps its running statistics in training. Defaults to False.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` takes an address or a path of timm's file of the
            classifier, and fails where it does not fit in every entry but the classifier's. None means timm's own
            random initialization. Defaults to None.

    Raises:
        ValueError: If timm has no such network, or its maps have other strides.
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
        if init_cfg is not None:
            if not (isinstance(init_cfg, dict) and is_pretrained(init_cfg)):
                raise TypeError(
                    f"init_cfg must be None or dict(type='Pretrained', checkpoint=...), but got {init_cfg!r}"
                )
            init_cfg = dict(init_cfg, type=TimmPretrainedInit)
        super().__init__(init_cfg)
        if not timm.is_model(arch):
            raise ValueError(f"arch must be one of timm's, see timm.list_models(), but got {arch!r}")
        self.arch = arch
        self.norm_eval = norm_eval
        self.body = timm.create_model(arch, features_only=True, pretrained=False)
        if (strides := self.body.feature_info.reduction()) != [4, 8, 16, 32]:
            raise ValueError(f'arch must give maps at strides 4, 8, 16 and 32, but {arch!r} gives them at {strides}')

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of the four stages.

        Args:
            x: Images of shape (N, 3, H, W).

        Returns:
            One map per stage.
        """
        return tuple(self.body(x))

    def train(self, mode: bool = True) -> 'TimmFeatures':
        """Switch to training mode, but for what ``norm_eval`` keeps in evaluation mode."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
