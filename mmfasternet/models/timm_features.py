"""A network of timm as a backbone, with timm's own files as its weights.

Import this module to register it; ``import mmfasternet`` does not, because timm is optional.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfasternet.weights.initialize import is_pretrained, pretrained_by

from .arguments import as_integer, check_choice, resolve_out_indices
from .recompute import spare_bn_of

# Looked for rather than caught: load_config shows the innermost error of an import, which should be this one.
if find_spec('timm') is None:
    raise ImportError("TimmFeatures needs timm, which is not installed: pip install 'mmfasternet[compare]'")
import timm
from timm.utils import reparameterize_model

from .timm_network import as_maps, plan_features
from .timm_weights import load_features

__all__ = ['TimmFeatures']


@MODELS.register_module()
class TimmFeatures(BaseModule):
    """A network of timm as a backbone that gives one feature map per stage, at strides 4, 8, 16 and 32.

    Where timm has several maps of a stride, the last is taken; maps at strides of 2 or 64 are left out. Shapes and
    strides are checked when the model is built. Parameters that no map depends on are never trained.

    Args:
        arch: timm's name of the network, such as 'repvit_m1_1'.
        out_indices: Feature maps that are returned, from 0 (stride 4) to 3 (stride 32), always in this order. Stages
            after the last of them are not built. Defaults to (0, 1, 2, 3).
        img_size: Height and width of images in pixels, or one number for both, for a network that is built for one
            size. None means timm's. Defaults to None.
        frozen_stages: Stages to freeze: parameters, BN statistics and drop path. -1 freezes nothing, 0 the layers
            before the stage of stride 4, k all that the first k feature maps depend on, at most 4. Defaults to -1.
        norm_eval: Whether every BN keeps its running statistics in training. Defaults to False.
        with_cp: Whether stages or blocks, as timm divides the network, are recomputed in the backward pass to save
            memory; gradients and BN statistics stay the same. Defaults to False.
        drop_path_rate: Stochastic depth of the last block; timm sets that of the others. None means
            timm's. Defaults to None.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` takes a path or URL of timm's file of the network, or its
            name as 'timm://repvit_m1_1.dist_300e_in1k' or 'hf-hub:timm/repvit_m1_1.dist_300e_in1k', and fails unless
            every entry fits, except for those of the classifier and of stages that are not built; ``trust=True`` reads
            a file that is refused. None means timm's own random initialization. Defaults to None.

    Attributes:
        out_channels: Channels of the feature maps, which a neck takes as ``in_channels``.

    Raises:
        ValueError: If timm has no such network, it lacks a stride or a stage that was asked for, or an argument or the
            size of an image is out of its range.
        TypeError: If an argument is of the wrong type.

    Example:
        >>> import torch
        >>> from mmfasternet.models.timm_features import TimmFeatures
        >>> model = TimmFeatures('repvit_m1_1', out_indices=(1, 2, 3)).eval()
        >>> model.out_channels
        (128, 256, 512)
        >>> for out in model(torch.rand(1, 3, 224, 320)):
        ...     print(tuple(out.shape))
        (1, 128, 28, 40)
        (1, 256, 14, 20)
        (1, 512, 7, 10)
    """

    def __init__(
        self,
        arch: str,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        img_size: int | Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        drop_path_rate: float | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if init_cfg is not None and not (isinstance(init_cfg, dict) and is_pretrained(init_cfg)):
            raise TypeError(f"init_cfg must be None or dict(type='Pretrained', checkpoint=...), but got {init_cfg!r}")
        super().__init__(init_cfg)
        if not isinstance(arch, str) or not timm.is_model(arch):
            raise ValueError(f"arch must be one of timm's networks, see timm.list_models(), but got {arch!r}")
        check_choice('with_cp', with_cp, (False, True))
        self.arch = arch
        self.out_indices = resolve_out_indices(out_indices)
        self.img_size = _height_and_width(img_size)
        self.frozen_stages = as_integer('frozen_stages', frozen_stages, -1, 4)
        self.norm_eval = norm_eval
        plan = plan_features(arch, self.out_indices, self.img_size)
        self.out_channels = plan.channels
        self._size, self._repeats, self._behind = plan.size, plan.repeats, plan.behind
        self._frozen = frozenset()
        if self.frozen_stages >= 0:
            self._frozen = plan.stages[min(self.frozen_stages, self.out_indices[-1] + 1)]
            if self._frozen is None:
                there = [stage for stage, names in enumerate(plan.stages) if names is not None]
                raise ValueError(
                    f'frozen_stages must be -1{"".join(f", {stage}" for stage in there)} for {arch!r}, which has no '
                    f'such stage, but got {frozen_stages}'
                )
        self.body = self._build(plan.options, drop_path_rate)
        for name, parameter in self.body.named_parameters():
            # Several processes would wait for the gradients of those that no map depends on.
            if name in self._frozen or name not in self._behind:
                parameter.requires_grad = False
        if with_cp:
            self._recompute()
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the chosen feature maps.

        Args:
            x: Images of shape (N, 3, H, W).

        Returns:
            One feature map per out index i, of shape (N, channels, H / 2^(i+2), W / 2^(i+2)).
        """
        if self._size is not None and not torch.jit.is_tracing():
            self._check_size(x.shape[2], x.shape[3])
        return as_maps(self.body, x)

    def train(self, mode: bool = True) -> 'TimmFeatures':
        """Set the mode, except where ``frozen_stages`` and ``norm_eval`` keep evaluation mode.

        Args:
            mode: Training mode (True) or evaluation mode (False). Defaults to True.

        Returns:
            The model itself.
        """
        super().train(mode)
        for name, module in self.body.named_modules(prefix='body'):
            names = [f'{name}.{key}'.removeprefix('body.') for key, _ in module.named_parameters()]
            # A layer without parameters, such as drop path, follows the block that holds it.
            is_frozen = names and self._frozen.issuperset(names)
            if is_frozen or (self.norm_eval and isinstance(module, _BatchNorm)):
                module.eval()
        return self

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, see there.

        Raises:
            CheckpointError: If the file can't be read, is refused, or does not fit the network.
        """
        with pretrained_by(_load, self):
            super().init_weights()

    def reparameterize(self) -> None:
        """Fuse the branches of RepVGG, RepViT, MobileOne, FastViT and others, for inference alone.

        :func:`~mmfasternet.deploy.optimize_for_inference` does so on a copy.

        Example:
            >>> model = TimmFeatures('repvit_m1_1').eval()
            >>> before = sum(parameter.numel() for parameter in model.parameters())
            >>> model.reparameterize()
            >>> sum(parameter.numel() for parameter in model.parameters()) < before
            True
        """
        # Statistics become part of weights; the new layers are in training mode.
        reparameterize_model(self.body.eval(), inplace=True)
        self._frozen = frozenset()
        self.eval()

    def _build(self, options: dict[str, Any], drop_path_rate: float | None) -> nn.Module:
        if drop_path_rate is None:
            return timm.create_model(self.arch, **options)
        if not isinstance(drop_path_rate, (int, float)) or not 0 <= drop_path_rate < 1:
            raise ValueError(f'drop_path_rate must be None or from 0 to less than 1, but got {drop_path_rate!r}')
        try:
            return timm.create_model(self.arch, **options, drop_path_rate=drop_path_rate)
        except TypeError:
            raise ValueError(f'drop_path_rate is not supported by {self.arch!r}: leave it out') from None

    def _recompute(self) -> None:
        network = getattr(self.body, 'model', self.body)
        try:
            network.set_grad_checkpointing(True)
        except (AttributeError, AssertionError):
            raise ValueError(f'with_cp=True is not supported by {self.arch!r}: timm cannot recompute it') from None
        spare_bn_of(self.body)

    def _check_size(self, height: int, width: int) -> None:
        own_height, own_width = self._size
        if self._repeats:
            if height % own_height or width % own_width:
                raise ValueError(
                    f'{self.arch!r} takes images whose height is a multiple of {own_height} and whose width is one of '
                    f'{own_width}, but got {height} × {width}: set pad_size_divisor in the data_preprocessor'
                )
        elif (height, width) != self._size:
            raise ValueError(
                f'{self.arch!r} was built for images of {own_height} × {own_width} pixels, but got {height} × {width}: '
                f'set img_size=({height}, {width}), or resize and pad all images to one size'
            )


def _load(model: TimmFeatures, checkpoint: str | Path, trust: bool = False) -> None:
    load_features(model.body, model.arch, model.img_size, model._behind, checkpoint, trust)


def _height_and_width(img_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if img_size is None:
        return None
    sides = (img_size, img_size) if not isinstance(img_size, Sequence) else tuple(img_size)
    if len(sides) != 2 or isinstance(img_size, str):
        raise TypeError(f'img_size must be an int or a height and a width, but got {img_size!r}')
    height, width = (as_integer('img_size', side, 32) for side in sides)
    return height, width
