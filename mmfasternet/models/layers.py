"""Norms and activations from their configs, as mmcv builds them, but for one clear error."""

from mmcv.cnn import build_activation_layer, build_norm_layer
from torch import Tensor, nn

__all__ = ['build_activation', 'build_norm']


class _LayerNorm2d(nn.LayerNorm):
    """Layer normalization over the channels of an (N, C, H, W) feature map."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def build_norm(norm_cfg: dict, channels: int) -> nn.Module:
    """Build a norm.

    Args:
        norm_cfg: Its config; LN normalizes over the channels.
        channels: Channels of the feature map.

    Returns:
        The norm.

    Raises:
        ValueError: If the config describes no norm for that many channels.

    Example:
        >>> build_norm(dict(type='BN'), 40).num_features
        40
    """
    cfg = dict(norm_cfg)
    if cfg.get('type') in ('LN', nn.LayerNorm):
        # mmcv's own LN normalizes the last dimension, which is the width here.
        cfg['type'] = _LayerNorm2d
    try:
        return build_norm_layer(cfg, channels)[1]
    except (ArithmeticError, AssertionError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'norm_cfg={dict(norm_cfg)} gives no norm for {channels} channels: use type BN, SyncBN, LN, or GN with '
            f'num_groups that divide them ({type(error).__name__}: {error})'
        ) from error


def build_activation(act_cfg: dict) -> nn.Module:
    """Build an activation.

    Args:
        act_cfg: Its config.

    Returns:
        The activation.

    Raises:
        ValueError: If the config describes no activation.

    Example:
        >>> build_activation(dict(type='GELU'))
        GELU(approximate='none')
    """
    try:
        return build_activation_layer(act_cfg)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"act_cfg={dict(act_cfg)} gives no activation: use one such as dict(type='ReLU') "
            f'({type(error).__name__}: {error})'
        ) from error
