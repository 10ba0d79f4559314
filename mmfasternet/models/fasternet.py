"""FasterNet as a backbone, read top-down: block, stage, embedding and merging, network."""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfasternet.weights.initialize import load_pretrained, pretrained_by
from mmfasternet.weights.state_dict import classifier_state_dict

from .arch import MLP_RATIO, PARTIAL_RATIO, resolve_arch
from .arguments import (
    as_integer,
    check_choice,
    check_config,
    check_image,
    check_init_cfg,
    check_number,
    resolve_out_indices,
)
from .layers import build_activation, build_norm
from .pconv import PConv
from .recompute import recomputable
from .variants import VARIANTS

__all__ = ['Embedding', 'FasterNet', 'FasterNetBlock', 'Merging', 'Stage']


class FasterNetBlock(nn.Module):
    """Block of FasterNet: a PConv, two 1×1 convolutions with norm and activation between them, and the shortcut.

    Args:
        channels: Channels of input and output.
        mlp_ratio: Hidden channels per channel.
        partial_ratio: Share of the channels that the PConv convolves, in (0, 1].
        drop_path_rate: Probability, in [0, 1), that an image passes through the shortcut alone in training.
        layer_scale_init_value: Initial value of the layer scale; 0 means none.
        norm_cfg: Config of the norm.
        act_cfg: Config of the activation.
        with_cp: What is recomputed in the backward pass: False, True or 'elementwise', see :class:`FasterNet`.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> block = FasterNet('t0').stages[0].blocks[0]
        >>> block(torch.rand(1, 40, 56, 56)).shape
        torch.Size([1, 40, 56, 56])
    """

    def __init__(
        self,
        channels: int,
        *,
        mlp_ratio: float,
        partial_ratio: float,
        drop_path_rate: float,
        layer_scale_init_value: float,
        norm_cfg: dict,
        act_cfg: dict,
        with_cp: bool | str,
    ) -> None:
        super().__init__()
        hidden_channels = int(channels * mlp_ratio)
        self.with_cp = with_cp
        self.spatial_mixing = PConv(channels, partial_ratio)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden_channels, 1, bias=False),
            build_norm(norm_cfg, hidden_channels),
            build_activation(act_cfg),
            nn.Conv2d(hidden_channels, channels, 1, bias=False),
        )
        self.layer_scale = (
            nn.Parameter(torch.full((channels,), float(layer_scale_init_value))) if layer_scale_init_value > 0 else None
        )
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()

    @recomputable
    def forward(self, x: Tensor) -> Tensor:
        return self.add_to(x, self.mlp(self.spatial_mixing(x)))

    def add_to(self, x: Tensor, out: Tensor) -> Tensor:
        """Add the shortcut ``x``, after layer scale and drop path."""
        if self.layer_scale is not None:
            out = self.layer_scale.unsqueeze(-1).unsqueeze(-1) * out
        # Without drop path a factor of ones would cost a product of the complete feature map in the backward pass.
        if not (self.drop_path.training and isinstance(self.drop_path, DropPath)):
            return x + out
        # Of ones, drop path makes the factor of each image, by the same random numbers as of the complete feature map.
        return torch.addcmul(x, out, self.drop_path(out.new_ones(len(out), 1, 1, 1)))


class Stage(nn.Module):
    """Stage of FasterNet: the blocks of one resolution.

    Args:
        blocks: The blocks, in order.
    """

    def __init__(self, blocks: Sequence[FasterNetBlock]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class Embedding(nn.Module):
    """4×4 convolution with stride 4, and a norm: from the image to the first feature map.

    Args:
        in_channels: Channels of the image.
        channels: Channels of the feature map.
        norm_cfg: Config of the norm.
    """

    def __init__(self, in_channels: int, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel_size=4, stride=4, bias=False)
        self.norm = build_norm(norm_cfg, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x))


class Merging(nn.Module):
    """2×2 convolution with stride 2, and a norm: half the height and width, twice the channels.

    Args:
        channels: Channels of the input.
        norm_cfg: Config of the norm.
    """

    def __init__(self, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(channels, 2 * channels, kernel_size=2, stride=2, bias=False)
        self.norm = build_norm(norm_cfg, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.reduction(x))


@MODELS.register_module()
class FasterNet(BaseModule):
    """FasterNet, a backbone of partial convolutions that gives one feature map per stage.

    *Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks*, CVPR 2023, https://arxiv.org/abs/2303.03667
    (Fig. 4 and Table 8); the state-dict keys are those of https://github.com/JierunChen/FasterNet, ``detection/``.

    ::

        image ─ Embedding ─ Stage 1 ─ Merging ─ Stage 2 ─ Merging ─ Stage 3 ─ Merging ─ Stage 4
                /4, c       │         /8, 2c    │         /16, 4c   │         /32, 8c   │
                            norm0               norm2               norm4               norm6
                            │                   │                   │                   │
                            out 0               out 1               out 2               out 3

        block:  x ─┬─ PConv 3×3 ─ 1×1 to 2c ─ norm ─ act ─ 1×1 to c ─ (layer scale) ─ (drop path) ─┬─ + ─ y
                   └──────────────────────────────────────────────────────────────────────────────┘

    Args:
        arch: A variant, one of t0, t1, t2, s, m, l (any case), or a dict with ``embed_dims`` (channels of stage 1) and
            ``depths`` (blocks of the four stages), and optionally ``mlp_ratio`` (2), ``partial_ratio`` (1/4),
            ``act_cfg`` (ReLU) and ``drop_path_rate`` (0). Defaults to 's'.
        in_channels: Channels of the image. Defaults to 3.
        out_indices: Stages whose feature maps are returned, from 0 to 3, always in the order of the stages. Stages
            after the last of them are not built. Defaults to (0, 1, 2, 3).
        out_norm: Whether each output has a norm of its own, as in the authors' detectors. Defaults to True.
        drop_path_rate: Stochastic depth rate of the last block, in [0, 1), rising linearly from 0 at the first. None
            means the variant's own, 0 for T0 to 0.3 for L. Defaults to None.
        layer_scale_init_value: Initial value of the layer scale; 0 means none. Defaults to 0.
        norm_cfg: Norm layers: BN, SyncBN, GN, or LN over the channels. Defaults to ``dict(type='BN')``.
        act_cfg: Activation in the blocks. None means the variant's own, GELU for T0 and T1 and ReLU for the others.
            Defaults to None.
        frozen_stages: Stages to freeze: parameters, BN statistics and drop path. -1 freezes nothing, 0 the embedding,
            k the embedding and the first k stages with the merging layers between them, at most 4. Output norms are
            never frozen. Defaults to -1.
        norm_eval: Whether every BN, output norms included, keeps its running statistics in training. No effect on GN
            and LN. Defaults to False.
        with_cp: Whether blocks are recomputed in the backward pass to save memory; gradients and BN statistics stay
            the same. 'elementwise' recomputes a block except for its convolutions: concatenation, norm and activation.
            Defaults to False.
        init_cfg: Initialization. ``dict(type='Pretrained', checkpoint=...)`` takes a path or URL of a file of the
            authors, of timm or of this project, and fails if an entry of the backbone is missing or has another shape;
            ``prefix`` says where in the file the backbone is, ``trust=True`` reads a file that would be refused. None
            means the authors' truncated normal with standard deviation 0.02. Defaults to None.

    Raises:
        ValueError: If an argument is out of its range, or the input is not an (N, in_channels, H, W) image of at
            least 32 × 32 pixels.
        TypeError: If an argument is unknown or of the wrong type.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> model = FasterNet('t0').eval()
        >>> for out in model(torch.rand(1, 3, 224, 320)):
        ...     print(tuple(out.shape))
        (1, 40, 56, 80)
        (1, 80, 28, 40)
        (1, 160, 14, 20)
        (1, 320, 7, 10)
    """

    # Name of a variant → the ``arch`` dict it stands for.
    arch_settings = {name: variant.arch for name, variant in VARIANTS.items()}

    def __init__(
        self,
        arch: str | dict = 's',
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norm: bool = True,
        drop_path_rate: float | None = None,
        layer_scale_init_value: float = 0.0,
        norm_cfg: dict = dict(type='BN'),  # noqa: B006, never modified
        act_cfg: dict | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool | str = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = [
                dict(type='TruncNormal', layer='Conv2d', std=0.02),
                dict(type='Constant', layer=['_BatchNorm', 'GroupNorm', 'LayerNorm'], val=1, bias=0),
            ]
        check_init_cfg(init_cfg)
        super().__init__(init_cfg)
        settings = resolve_arch(arch, self.arch_settings)
        if drop_path_rate is None:
            drop_path_rate = settings['drop_path_rate']
        check_number('drop_path_rate', drop_path_rate, lowest=0, below=1)
        check_number('layer_scale_init_value', layer_scale_init_value, lowest=0)
        check_choice('with_cp', with_cp, (False, True, 'elementwise'))
        check_config('norm_cfg', norm_cfg)
        act_cfg = settings['act_cfg'] if act_cfg is None else act_cfg
        check_config('act_cfg', act_cfg)

        self.arch = arch.lower() if isinstance(arch, str) else settings
        self.in_channels = as_integer('in_channels', in_channels, 1)
        self.out_indices = resolve_out_indices(out_indices)
        self.out_norm = out_norm
        self.frozen_stages = as_integer('frozen_stages', frozen_stages, -1, 4)
        self.norm_eval = norm_eval
        self._warned_of_fresh_norms = False
        kind = act_cfg.get('type')  # a name, or a class
        self._activation = getattr(kind, '__name__', kind)

        # One rate per block of the complete network, in order.
        drop_path_rates = iter(torch.linspace(0, drop_path_rate, sum(settings['depths']), device='cpu').tolist())
        channels = settings['embed_dims']
        self.patch_embed = Embedding(self.in_channels, channels, norm_cfg)
        # Stages and the merging layers between them share one list, so that stage i is entry 2i: the authors' keys.
        self.stages = nn.ModuleList()
        for i in range(max(self.out_indices) + 1):
            if i > 0:
                self.stages.append(Merging(channels, norm_cfg))
                channels *= 2
            blocks = [
                FasterNetBlock(
                    channels,
                    mlp_ratio=settings['mlp_ratio'],
                    partial_ratio=settings['partial_ratio'],
                    drop_path_rate=next(drop_path_rates),
                    layer_scale_init_value=layer_scale_init_value,
                    norm_cfg=norm_cfg,
                    act_cfg=act_cfg,
                    with_cp=with_cp,
                )
                for _ in range(settings['depths'][i])
            ]
            self.stages.append(Stage(blocks))
            if out_norm and i in self.out_indices:
                self.add_module(f'norm{2 * i}', build_norm(norm_cfg, channels))
        self._freeze_stages()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of the chosen stages.

        Args:
            x: Images of shape (N, in_channels, H, W), H and W at least 32 pixels.

        Returns:
            One feature map per out index i, of shape (N, embed_dims·2^i, ⌊H / 2^(i+2)⌋, ⌊W / 2^(i+2)⌋).
        """
        # While tracing, sizes are tensors, and the outcome of a comparison would become part of the trace.
        if not torch.jit.is_tracing():
            check_image(x, self.in_channels)
        x = self.patch_embed(x)
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i // 2 in self.out_indices and i % 2 == 0:
                outs.append(getattr(self, f'norm{i}')(x) if self.out_norm else x)
        return tuple(outs)

    def train(self, mode: bool = True) -> 'FasterNet':
        """Set the mode, except where ``frozen_stages`` and ``norm_eval`` keep evaluation mode.

        Args:
            mode: Training mode (True) or evaluation mode (False). Defaults to True.

        Returns:
            The model itself.
        """
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
            self._warn_of_fresh_norms()
        return self

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says; a checkpoint is converted, checked, and loaded completely or not at all.

        Raises:
            CheckpointError: If a file can't be read, is refused, or does not fit the model.
        """
        with pretrained_by(load_pretrained, self):
            super().init_weights()
        self._warn_of_another_activation()

    @property
    def output_norms(self) -> list[nn.Module]:
        """Norms of the outputs, in the order of ``out_indices``; empty without ``out_norm``."""
        return [getattr(self, f'norm{2 * i}') for i in self.out_indices] if self.out_norm else []

    @property
    def convolutions(self) -> dict[str, list[nn.Conv2d]]:
        """All convolutions by the part they belong to: 'embedding', 'merging', 'PConv' and '1×1'.

        Example:
            >>> for part, convolutions in FasterNet('t0').convolutions.items():
            ...     print(part, convolutions[0].kernel_size, len(convolutions))
            embedding (4, 4) 1
            merging (2, 2) 3
            PConv (3, 3) 13
            1×1 (1, 1) 26
        """
        blocks = [block for stage in self.stages[::2] for block in stage.blocks]
        return {
            'embedding': [self.patch_embed.proj],
            'merging': [merging.reduction for merging in self.stages[1::2]],
            'PConv': [block.spatial_mixing.partial_conv3 for block in blocks],
            '1×1': [convolution for block in blocks for convolution in (block.mlp[0], block.mlp[3])],
        }

    @classmethod
    def describe(cls, state_dict: dict[str, Tensor]) -> dict[str, Any]:
        """Tell which arguments a model was built with, as far as its state dict shows.

        Args:
            state_dict: Entries of a FasterNet, ``patch_embed.proj.weight`` among them.

        Returns:
            ``arch``, the name of a variant or else a dict, in which a missing stage has no blocks and a missing weight
            means the default ratio; ``in_channels``; ``has_bn``; ``has_layer_scale``.

        Example:
            >>> FasterNet.describe(FasterNet('t0').state_dict())
            {'arch': 't0', 'in_channels': 3, 'has_bn': True, 'has_layer_scale': False}
        """
        embed_dims, in_channels = state_dict['patch_embed.proj.weight'].shape[:2]
        blocks = {match.groups() for key in state_dict if (match := re.match(r'stages\.(\d)\.blocks\.(\d+)\.', key))}
        depths = tuple(sum(stage == str(2 * i) for stage, _ in blocks) for i in range(4))
        defaults = dict(mlp_ratio=MLP_RATIO, partial_ratio=PARTIAL_RATIO)
        arch = dict(embed_dims=embed_dims, depths=depths, **defaults)
        for ratio, key in dict(mlp_ratio='mlp.0.weight', partial_ratio='spatial_mixing.partial_conv3.weight').items():
            if (weight := state_dict.get(f'stages.0.blocks.0.{key}')) is not None:
                arch[ratio] = weight.shape[0] / embed_dims
        names = (name for name, other in cls.arch_settings.items() if {**defaults, **other}.items() >= arch.items())
        return dict(
            arch=next(names, arch),
            in_channels=in_channels,
            has_bn='patch_embed.norm.running_mean' in state_dict,
            has_layer_scale=any(key.endswith('.layer_scale') for key in state_dict),
        )

    @staticmethod
    def _checkpoint_filter(state_dict: dict[str, Tensor], *args: Any) -> None:
        """Rename the authors' classifier in place; mmpretrain's ``ImageClassifier`` calls this before it loads one."""
        renamed = dict(classifier_state_dict(state_dict))
        state_dict.clear()
        state_dict.update(renamed)

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        # k stages and the k - 1 merging layers between them.
        for module in [self.patch_embed, *self.stages[: max(0, 2 * self.frozen_stages - 1)]]:
            module.eval()
            for parameter in module.parameters():
                parameter.requires_grad = False

    def _warn_of_fresh_norms(self) -> None:
        fresh = [
            norm
            for norm in self.output_norms
            if isinstance(norm, _BatchNorm) and norm.track_running_stats and norm.num_batches_tracked == 0
        ]
        if fresh and not self._warned_of_fresh_norms:
            self._warned_of_fresh_norms = True
            warnings.warn(
                'norm_eval=True keeps the running statistics of every BN, but those of the output norms still have '
                'their initial values (mean 0, variance 1), so these norms do not normalize. Use norm_eval=False, '
                'out_norm=False, or a checkpoint with trained output norms.',
                stacklevel=3,
            )

    def _warn_of_another_activation(self) -> None:
        """An activation has no weights, so that released weights load under any other one, and are another network."""
        source = self.init_cfg.get('checkpoint') if isinstance(self.init_cfg, dict) else None
        name = str(source or '').rsplit('/', 1)[-1]
        for variant in VARIANTS.values():
            if name == variant.file and self._activation != variant.act:
                warnings.warn(
                    f'the released weights of {variant.label} were trained with {variant.act}, and are another network '
                    f'with {self._activation}: train them with it before anything else, such as quantization.',
                    stacklevel=3,
                )
