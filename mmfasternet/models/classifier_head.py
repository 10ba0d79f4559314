"""The paper's classifier as a head of mmpretrain.

Importing this registers it; ``import mmfasternet`` does not, because mmpretrain is optional.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.model import update_init_info
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmfasternet.weights.state_dict import (
    CheckpointError,
    classifier_state_dict,
    compare,
    read_checkpoint,
    strip,
    unwrap,
)

from .arguments import as_integer
from .fasternet import build_activation, check_config, check_init_cfg, is_pretrained

# Not by catching what the import raises: load_config shows the innermost error, which shall be this one.
if find_spec('mmpretrain') is None:
    raise ImportError(
        'FasterNetClsHead needs mmpretrain, which is not installed: pip install onedl-mmpretrain (or mmpretrain)'
    )
from mmpretrain.models import ClsHead

__all__ = ['FasterNetClsHead']


class ClassifierPretrainedInit:
    """``init_cfg=dict(type='Pretrained', ...)`` of the head: takes the classifier of a file, whole or not at all."""

    def __init__(self, checkpoint: str | Path, trust: bool = False) -> None:
        self.checkpoint = checkpoint
        self.trust = trust

    def __call__(self, module: nn.Module) -> None:
        checkpoint = read_checkpoint(self.checkpoint, trust=self.trust)
        found = strip(classifier_state_dict(unwrap(checkpoint, str(self.checkpoint))), 'head.')
        if problems := compare(found, module.state_dict()):
            raise CheckpointError(f'the classifier of {self.checkpoint} does not fit this head: {"; ".join(problems)}')
        module.load_state_dict(found)
        update_init_info(module, init_info=f'FasterNet classifier: {self.checkpoint}')


@MODELS.register_module()
class FasterNetClsHead(ClsHead):
    """Classifier of FasterNet: global average pool, 1×1 convolution, activation, fully connected layer.

    *Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks*, CVPR 2023, https://arxiv.org/abs/2303.03667
    (Fig. 4 and Table 8); the state-dict keys are those of https://github.com/JierunChen/FasterNet,
    ``models/fasternet.py``, behind ``head.``.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the backbone's last map: 320, 512, 768, 1024, 1152, 1536 for T0 to L.
        hidden_channels: Channels of the 1×1 convolution. Defaults to 1280.
        act_cfg: Activation behind it; the variants T0 and T1 have GELU. Defaults to ``dict(type='ReLU')``.
        loss: Loss of mmpretrain. Defaults to ``dict(type='CrossEntropyLoss', loss_weight=1.0)``.
        topk: What ``cal_acc`` counts as right. Defaults to (1, ).
        cal_acc: Whether the accuracy on each training batch is logged, which mixup and cutmix rule out. Defaults to
            False.
        init_cfg: Initialization. ``dict(type='Pretrained', checkpoint=...)`` takes an address or a path of the
            authors' files, of timm's or of a classifier trained here, and fails where the classifier in it does not
            fit in every entry. None means the authors' truncated normal with standard deviation 0.02. Defaults to
            None.

    Raises:
        ValueError: If an argument is out of its range.
        TypeError: If an argument is unknown or of the wrong type.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> from mmfasternet.models.classifier_head import FasterNetClsHead
        >>> backbone = FasterNet('t0', out_indices=(3,), out_norm=False).eval()
        >>> head = FasterNetClsHead(1000, in_channels=320, act_cfg=dict(type='GELU'))
        >>> head(backbone(torch.rand(1, 3, 224, 224))).shape
        torch.Size([1, 1000])
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_channels: int = 1280,
        act_cfg: dict = dict(type='ReLU'),  # noqa: B006, never modified
        loss: dict = dict(type='CrossEntropyLoss', loss_weight=1.0),  # noqa: B006, never modified
        topk: int | Sequence[int] = (1,),
        cal_acc: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02)
        check_init_cfg(init_cfg)
        configs = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
        configs = [dict(cfg, type=ClassifierPretrainedInit) if is_pretrained(cfg) else cfg for cfg in configs]
        super().__init__(loss=loss, topk=topk, cal_acc=cal_acc, init_cfg=configs)
        check_config('act_cfg', act_cfg)
        self.num_classes = as_integer('num_classes', num_classes, 1)
        self.in_channels = as_integer('in_channels', in_channels, 1)
        hidden_channels = as_integer('hidden_channels', hidden_channels, 1)
        # The authors' names.
        self.avgpool_pre_head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(self.in_channels, hidden_channels, 1, bias=False),
            build_activation(act_cfg),
        )
        self.head = nn.Linear(hidden_channels, self.num_classes)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The input of the fully connected layer.

        Args:
            feats: Maps of the backbone, of which the last, of shape (N, in_channels, H, W), is taken.

        Returns:
            Features of shape (N, hidden_channels).
        """
        return torch.flatten(self.avgpool_pre_head(feats[-1]), 1)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Compute the logits.

        Args:
            feats: Maps of the backbone, of which the last, of shape (N, in_channels, H, W), is taken.

        Returns:
            Logits of shape (N, num_classes).
        """
        return self.head(self.pre_logits(feats))
