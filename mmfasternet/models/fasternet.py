"""FasterNet as a backbone: block, merging, then the network, read top-down."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule, PretrainedInit
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmfasternet.weights.state_dict import FasterNetPretrainedInit, classifier_state_dict

from .arguments import as_integer, check_number
from .pconv import PConv, num_convolved

__all__ = ['FasterNet']


class LayerNorm2d(nn.LayerNorm):
    """Layer normalization over the channels of an (N, C, H, W) map."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def build_norm(norm_cfg: dict, channels: int) -> nn.Module:
    """Build a norm over ``channels``, with every mistake in the config as one ValueError that names it."""
    cfg = dict(norm_cfg)
    if cfg.get('type') in ('LN', nn.LayerNorm):
        # mmcv's own LN normalizes the last dimension, which is the width here.
        cfg['type'] = LayerNorm2d
    try:
        return build_norm_layer(cfg, channels)[1]
    except (ArithmeticError, AssertionError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'norm_cfg={dict(norm_cfg)} gives no norm for {channels} channels: take type BN, SyncBN, LN, or GN with '
            f'num_groups that divide them ({type(error).__name__}: {error})'
        ) from error


def build_activation(act_cfg: dict) -> nn.Module:
    """Build an activation, with every mistake in the config as one ValueError that names it."""
    try:
        return build_activation_layer(act_cfg)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"act_cfg={dict(act_cfg)} gives no activation: take one such as dict(type='ReLU') "
            f'({type(error).__name__}: {error})'
        ) from error


@contextmanager
def spare_bn_buffers(module: nn.Module) -> Iterator[None]:
    """Let the BN layers of ``module`` run without changing their running statistics."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    buffers = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, kept in zip(norms, buffers, strict=True):
        norm._buffers.update({name: buffer.clone() for name, buffer in kept.items()})
    try:
        yield
    finally:
        for norm, kept in zip(norms, buffers, strict=True):
            norm._buffers.update(kept)


class FasterNetBlock(nn.Module):
    """PConv, then two 1×1 convolutions with norm and activation between them, plus the shortcut."""

    def __init__(
        self,
        channels: int,
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

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and torch.is_grad_enabled() and not torch.jit.is_tracing():
            return (
                self._recomputed_elementwise(x) if self.with_cp == 'elementwise' else self._recomputed(self._forward, x)
            )
        return self._forward(x)

    # torch.compile, which has a recomputation of its own, does not know contexts.
    @torch.compiler.disable
    def _recomputed(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        # The recomputation sees each batch a second time; BN must not count it twice.
        return checkpoint(
            function, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), spare_bn_buffers(self))
        )

    def _recomputed_elementwise(self, x: Tensor) -> Tensor:
        """Recompute all but convolutions: recomputation stops at what a convolution has saved, which is its input."""
        expand, norm, activation, project = self.mlp
        mixing = self.spatial_mixing
        convolved, passed = torch.split(x, [mixing.conv_channels, mixing.pass_channels], dim=1)
        convolved = mixing.partial_conv3(convolved)
        hidden = self._recomputed(lambda *parts: expand(torch.cat(parts, dim=1)), convolved, passed)
        out = self._recomputed(lambda hidden: project(activation(norm(hidden))), hidden)
        return self._add_to(x, out)

    def _forward(self, x: Tensor) -> Tensor:
        return self._add_to(x, self.mlp(self.spatial_mixing(x)))

    def _add_to(self, x: Tensor, out: Tensor) -> Tensor:
        if self.layer_scale is not None:
            out = self.layer_scale.unsqueeze(-1).unsqueeze(-1) * out
        return x + self.drop_path(out)


class Stage(nn.Module):
    """The blocks of one resolution."""

    def __init__(self, blocks: Sequence[FasterNetBlock]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class Embedding(nn.Module):
    """4×4 convolution with stride 4 and a norm: the image to the first map."""

    def __init__(self, in_channels: int, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel_size=4, stride=4, bias=False)
        self.norm = build_norm(norm_cfg, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x))


class Merging(nn.Module):
    """2×2 convolution with stride 2 and a norm: half the size, twice the channels."""

    def __init__(self, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(channels, 2 * channels, kernel_size=2, stride=2, bias=False)
        self.norm = build_norm(norm_cfg, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.reduction(x))


@MODELS.register_module()
class FasterNet(BaseModule):
    """FasterNet, a backbone of partial convolutions that gives one map per stage.

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
        out_indices: Stages to give a map of, from 0 to 3; the maps come in the order of the stages. Stages behind the
            last one are not built. Defaults to (0, 1, 2, 3).
        out_norm: Whether each output passes a norm of its own, as in the authors' detectors. Defaults to True.
        drop_path_rate: Stochastic depth rate of the last block, rising linearly from 0 at the first. None means the
            variant's own: 0, 0.02, 0.05, 0.15, 0.2, 0.3 for T0 to L. Defaults to None.
        layer_scale_init_value: Initial value of the layer scale; 0 means none. Defaults to 0.
        norm_cfg: Norm layers: BN, SyncBN, GN, or LN over the channels. Defaults to ``dict(type='BN')``.
        act_cfg: Activation in the blocks. None means the variant's own: GELU for T0 and T1, else ReLU.
            Defaults to None.
        frozen_stages: -1 freezes nothing, 0 the embedding, k the embedding and the first k stages with the merging
            layers between them: parameters, BN statistics and drop path. Output norms are never frozen by it. At
            most 4. Defaults to -1.
        norm_eval: Whether every BN, output norms included, keeps its running statistics in training. Without effect
            on GN and LN. Defaults to False.
        with_cp: Whether blocks are recomputed in the backward pass to save memory; gradients and BN statistics are
            the same. 'elementwise' recomputes all of a block but its convolutions: concatenation, norm and activation.
            Defaults to False.
        init_cfg: Initialization. ``dict(type='Pretrained', checkpoint=...)`` takes an address or a path of the
            authors' files, of timm's or of this project's, with ``prefix`` where the backbone lies deeper, and
            fails where an entry of the backbone is missing or misshapen. None means the authors' truncated normal
            with standard deviation 0.02. Defaults to None.

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

    # embed_dims: channels of stage 1, doubled at each stage · depths: blocks per stage · act_cfg: activation
    # drop_path_rate: the detectors' on COCO for S, M and L, the classifiers' on ImageNet for T0 to T2
    arch_settings = {
        't0': dict(embed_dims=40, depths=(1, 2, 8, 2), act_cfg=dict(type='GELU'), drop_path_rate=0.0),
        't1': dict(embed_dims=64, depths=(1, 2, 8, 2), act_cfg=dict(type='GELU'), drop_path_rate=0.02),
        't2': dict(embed_dims=96, depths=(1, 2, 8, 2), drop_path_rate=0.05),
        's': dict(embed_dims=128, depths=(1, 2, 13, 2), drop_path_rate=0.15),
        'm': dict(embed_dims=144, depths=(3, 4, 18, 3), drop_path_rate=0.2),
        'l': dict(embed_dims=192, depths=(3, 4, 18, 3), drop_path_rate=0.3),
    }

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
        check_number('drop_path_rate', drop_path_rate)
        if not 0 <= drop_path_rate < 1:
            raise ValueError(f'drop_path_rate must be in [0, 1), but got {drop_path_rate}')
        check_number('layer_scale_init_value', layer_scale_init_value)
        if layer_scale_init_value < 0:
            raise ValueError(f'layer_scale_init_value must not be negative, but got {layer_scale_init_value}')
        if with_cp not in (False, True, 'elementwise'):
            raise ValueError(f"with_cp must be False, True or 'elementwise', but got {with_cp!r}")
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

        depths = settings['depths']
        # One rate per block of the whole network, in order.
        drop_path_rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device='cpu').tolist())
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
                    settings['mlp_ratio'],
                    settings['partial_ratio'],
                    next(drop_path_rates),
                    layer_scale_init_value,
                    norm_cfg,
                    act_cfg,
                    with_cp,
                )
                for _ in range(depths[i])
            ]
            self.stages.append(Stage(blocks))
            if out_norm and i in self.out_indices:
                self.add_module(f'norm{2 * i}', build_norm(norm_cfg, channels))
        self._freeze_stages()

    @property
    def output_norms(self) -> list[nn.Module]:
        """The norms of the outputs, in the order of ``out_indices``; empty without ``out_norm``."""
        return [getattr(self, f'norm{2 * i}') for i in self.out_indices] if self.out_norm else []

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of the chosen stages.

        Args:
            x: Images of shape (N, in_channels, H, W), H and W at least 32 pixels.

        Returns:
            One map per out index i, of shape (N, embed_dims·2^i, ⌊H / 2^(i+2)⌋, ⌊W / 2^(i+2)⌋).
        """
        # While tracing, sizes are tensors, and a comparison would be cast in stone.
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
        """Switch to training mode, but for what ``frozen_stages`` and ``norm_eval`` keep in evaluation mode."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
            self._warn_of_fresh_norms()
        return self

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says; pre-trained files are converted, checked and loaded whole."""
        init_cfg = self.init_cfg
        # Files last, as in mmengine, so that no other entry overwrites them.
        configs = sorted([init_cfg] if isinstance(init_cfg, dict) else init_cfg, key=is_pretrained)
        self.init_cfg = [dict(cfg, type=FasterNetPretrainedInit) if is_pretrained(cfg) else cfg for cfg in configs]
        try:
            super().init_weights()
        finally:
            self.init_cfg = init_cfg

    @staticmethod
    def _checkpoint_filter(state_dict: dict[str, Tensor], *args: Any) -> None:
        """Rename the authors' classifier in place; mmpretrain's ``ImageClassifier`` calls this before it loads."""
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
                'norm_eval=True keeps the running statistics of every BN, but those of the output norms are still at '
                'their start (mean 0, variance 1), so that these norms normalize nothing. Use norm_eval=False, '
                'out_norm=False, or a checkpoint that has trained output norms.',
                stacklevel=3,
            )


def check_image(x: Tensor, in_channels: int) -> None:
    """Make sure that a FasterNet can take a batch of images."""
    if not isinstance(x, Tensor):
        raise TypeError(f'FasterNet takes a tensor of images, but got {type(x).__name__}')
    if x.dim() != 4:
        raise ValueError(f'FasterNet takes images of shape (N, {in_channels}, H, W), but got shape {tuple(x.shape)}')
    if not x.is_floating_point():
        raise TypeError(f'FasterNet takes images of a floating-point type, but got {x.dtype}')
    if x.shape[1] != in_channels:
        raise ValueError(
            f'FasterNet was made for images of {in_channels} channels, but got {x.shape[1]}; '
            f'set in_channels={x.shape[1]}'
        )
    if x.shape[2] < 32 or x.shape[3] < 32:
        raise ValueError(
            f'FasterNet takes images of at least 32 × 32 pixels, but got height {x.shape[2]} and width {x.shape[3]}'
        )


def is_pretrained(cfg: dict) -> bool:
    """Whether an entry of ``init_cfg`` names a checkpoint."""
    return cfg.get('type') in ('Pretrained', PretrainedInit)


def resolve_arch(arch: str | dict, arch_settings: dict[str, dict]) -> dict:
    """All settings of a variant's name or a user's dict, checked."""
    choices = ', '.join(arch_settings)
    required, defaults = ('embed_dims', 'depths'), dict(mlp_ratio=2, partial_ratio=1 / 4, drop_path_rate=0.0)
    defaults['act_cfg'] = dict(type='ReLU', inplace=True)
    keys = (*required, *defaults)
    if isinstance(arch, str):
        if arch.lower() not in arch_settings:
            raise ValueError(f'arch must be one of {choices}, or a dict with {keys}, but got {arch!r}')
        arch = arch_settings[arch.lower()]
    if not isinstance(arch, dict):
        raise TypeError(f'arch must be one of {choices}, or a dict with {keys}, but got {arch!r}')
    missing, unknown = [key for key in required if key not in arch], [key for key in arch if key not in keys]
    if missing or unknown:
        raise ValueError(f'arch must have the keys {required} and may have {tuple(defaults)}, but got {list(arch)}')

    settings = {**defaults, **arch}
    depths = settings['depths']
    if not isinstance(depths, (list, tuple)) or len(depths) != 4:
        raise ValueError(f'depths of arch must be four numbers of blocks, but got {depths!r}')
    settings['depths'] = tuple(as_integer('each of depths of arch', depth, 0) for depth in depths)
    settings['embed_dims'] = channels = as_integer('embed_dims of arch', settings['embed_dims'], 1)
    check_number('mlp_ratio of arch', settings['mlp_ratio'])
    if int(channels * settings['mlp_ratio']) < 1:
        raise ValueError(f'mlp_ratio of arch must leave at least one hidden channel, but got {settings["mlp_ratio"]}')
    check_number('partial_ratio of arch', settings['partial_ratio'])
    if abs(num_convolved(channels, settings['partial_ratio']) - channels * settings['partial_ratio']) > 1e-3:
        raise ValueError(
            f'embed_dims of arch must be divisible by its partial_ratio, but {channels} · '
            f'{settings["partial_ratio"]:g} is not a whole number of channels'
        )
    return settings


def resolve_out_indices(out_indices: Sequence[int]) -> tuple[int, ...]:
    """The chosen stages in ascending order, checked."""
    if isinstance(out_indices, str) or not isinstance(out_indices, Sequence):
        raise TypeError(f'out_indices must be a sequence of stages from 0 to 3, but got {out_indices!r}')
    stages = sorted({as_integer('each of out_indices', index, 0, 3) for index in out_indices})
    if not stages or len(stages) < len(out_indices):
        raise ValueError(f'out_indices must name at least one stage and none twice, but got {tuple(out_indices)}')
    return tuple(stages)


def check_config(name: str, value: dict) -> None:
    if not isinstance(value, dict):
        raise TypeError(f'{name} must be a dict such as dict(type=...), but got {value!r}')


def check_init_cfg(init_cfg: dict | list[dict]) -> None:
    configs = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
    if not isinstance(configs, (list, tuple)) or not all(isinstance(cfg, dict) for cfg in configs):
        raise TypeError(
            "init_cfg must be a dict such as dict(type='Pretrained', checkpoint=...), or a list of such, "
            f'but got {init_cfg!r}'
        )
