"""The paper's classifier as a head of mmpretrain.

Import this module to register it; ``import mmfasternet`` does not, because mmpretrain is optional.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmfasternet.weights.initialize import pretrained_by
from mmfasternet.weights.reader import read_checkpoint
from mmfasternet.weights.state_dict import classifier_state_dict, load_exactly, strip_prefix, unwrap

from .arguments import as_integer, check_config, check_init_cfg
from .layers import build_activation

# Looked for rather than caught: load_config shows the innermost error of an import, which should be this one.
if find_spec('mmpretrain') is None:
    raise ImportError(
        'FasterNetClsHead needs mmpretrain, which is not installed: pip install onedl-mmpretrain (or mmpretrain)'
    )
from mmpretrain.models import ClsHead

__all__ = ['FasterNetClsHead']


@MODELS.register_module()
class FasterNetClsHead(ClsHead):
    """Classifier of FasterNet: global average pooling, 1×1 convolution, activation, fully connected layer.

    *Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks*, CVPR 2023, https://arxiv.org/abs/2303.03667
    (Fig. 4 and Table 8); the state-dict keys are those of https://github.com/JierunChen/FasterNet,
    ``models/fasternet.py``, under ``head.``.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the backbone's last feature map, 320 for T0 to 1536 for L.
        hidden_channels: Channels of the 1×1 convolution. Defaults to 1280.
        act_cfg: Activation after it, which is GELU for T0 and T1. Defaults to ``dict(type='ReLU')``.
        loss: Loss of mmpretrain. Defaults to ``dict(type='CrossEntropyLoss', loss_weight=1.0)``.
        topk: Values of k for the accuracy of ``cal_acc``. Defaults to (1, ).
        cal_acc: Whether to log the accuracy of each training batch, which mixup and cutmix rule out. Defaults to False.
        init_cfg: Initialization. ``dict(type='Pretrained', checkpoint=...)`` takes a path or URL of a classifier's file
            of the authors, of timm or of this project, and fails unless every entry of the classifier fits;
            ``trust=True`` reads a file that is refused. None means the authors' truncated normal with standard
            deviation 0.02. Defaults to None.

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
        super().__init__(loss=loss, topk=topk, cal_acc=cal_acc, init_cfg=init_cfg)
        check_config('act_cfg', act_cfg)
        self.num_classes = as_integer('num_classes', num_classes, 1)
        self.in_channels = as_integer('in_channels', in_channels, 1)
        hidden_channels = as_integer('hidden_channels', hidden_channels, 1)
        # The names are the authors'.
        self.avgpool_pre_head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(self.in_channels, hidden_channels, 1, bias=False),
            build_activation(act_cfg),
        )
        self.head = nn.Linear(hidden_channels, self.num_classes)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Compute the input of the fully connected layer.

        Args:
            feats: Feature maps of the backbone. Only the last is used, of shape (N, in_channels, H, W).

        Returns:
            Features of shape (N, hidden_channels).
        """
        return torch.flatten(self.avgpool_pre_head(feats[-1]), 1)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Compute the logits.

        Args:
            feats: Feature maps of the backbone. Only the last is used, of shape (N, in_channels, H, W).

        Returns:
            Logits of shape (N, num_classes).
        """
        return self.head(self.pre_logits(feats))

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, see there.

        Raises:
            CheckpointError: If a file can't be read, is refused, or does not fit the head.
        """
        with pretrained_by(_load_classifier, self):
            super().init_weights()


def _load_classifier(head: FasterNetClsHead, checkpoint: str | Path, trust: bool = False) -> None:
    """Load the classifier of a file into a head."""
    found = classifier_state_dict(unwrap(read_checkpoint(checkpoint, trust=trust), str(checkpoint)))
    load_exactly(head, strip_prefix(found, 'head.'), f'the classifier of {checkpoint}', 'this head')
