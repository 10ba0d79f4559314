"""From a config to a model, and from a checkpoint to its weights."""

from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmfasternet.errors import UserError
from mmfasternet.weights.reader import read_checkpoint
from mmfasternet.weights.state_dict import check_whole_model, unwrap

from .config import load_config

__all__ = ['backbone_of', 'build_model', 'check_device', 'load_model', 'model_of']


def build_model(config: str | Path, options: dict | None = None) -> tuple[Config, nn.Module]:
    """Build the model of a config in evaluation mode, with random weights; nothing is downloaded.

    Args:
        config: A config file.
        options: Settings that override the config's, dotted key → value. Defaults to None.

    Returns:
        The resolved config and the model.

    Raises:
        UserError: If the config has no model with a backbone, or the model can't be built.

    Example:
        >>> cfg, model = build_model('configs/mask_rcnn_fasternet_t0.py')
        >>> type(model).__name__
        'MaskRCNN'
    """
    cfg = load_config(config, options)
    return cfg, model_of(cfg, str(config))


def model_of(cfg: Config, name: str = 'the config') -> nn.Module:
    """Build the model of a resolved config as :func:`build_model` does.

    Args:
        cfg: The config, see :func:`~mmfasternet.engine.config.load_config`; its backbone's ``init_cfg`` is removed.
        name: What errors call it. Defaults to 'the config'.

    Returns:
        The model, in evaluation mode.

    Raises:
        UserError: If the config has no model with a backbone, or the model can't be built.

    Example:
        >>> type(model_of(load_config('configs/mask_rcnn_fasternet_t0.py'))).__name__
        'MaskRCNN'
    """
    return _built(cfg, name, lambda model: model)


def backbone_of(cfg: Config, name: str = 'the config') -> nn.Module:
    """Build only the backbone of a resolved config's model, which takes a fraction of the time.

    Args:
        cfg: As of :func:`model_of`.
        name: What errors call it. Defaults to 'the config'.

    Returns:
        The backbone, in evaluation mode.

    Raises:
        UserError: If the config has no model with a backbone, or the backbone can't be built.

    Example:
        >>> type(backbone_of(load_config('configs/mask_rcnn_fasternet_t0.py'))).__name__
        'FasterNet'
    """
    return _built(cfg, name, lambda model: model.backbone)


def _built(cfg: Config, name: str, part: Callable[[dict], dict]) -> nn.Module:
    if not isinstance(cfg.get('model'), dict) or 'backbone' not in cfg.model:
        raise UserError(f'{name} has no model with a backbone, so there is nothing to build')
    cfg.model.backbone.init_cfg = None
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    try:
        built = MODELS.build(part(cfg.model))
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise UserError(f'the model of {name} cannot be built: {error}') from error
    # Not chained: ResNet of mmdet returns nothing from train().
    built.eval()
    return built


def load_model(model: nn.Module, checkpoint: str | Path) -> dict:
    """Load a checkpoint into a model; every entry of the model must be in it.

    Args:
        model: The model, as :func:`build_model` builds it.
        checkpoint: Path or http(s) URL of a checkpoint that a training run saved.

    Returns:
        What the training run said of it (``meta``), such as the classes; empty if it said nothing.

    Raises:
        CheckpointError: If it can't be read or doesn't fit.

    Example:
        >>> import torch
        >>> _, model = build_model('configs/mask_rcnn_fasternet_t0.py')
        >>> torch.save(dict(state_dict=model.state_dict()), 'epoch_12.pth')
        >>> load_model(model, 'epoch_12.pth')
        {}
    """
    found = read_checkpoint(checkpoint)
    state_dict = unwrap(found, str(checkpoint))
    taken, _ = check_whole_model(model, state_dict, str(checkpoint), heads_may_differ=False)
    model.load_state_dict(taken, strict=False)
    meta = found.get('meta') if isinstance(found, dict) else None
    return meta if isinstance(meta, dict) else {}


def check_device(device: str) -> None:
    """Make sure that this machine has a device.

    Args:
        device: Such as 'cpu' or 'cuda:0'.

    Raises:
        UserError: If it does not.

    Example:
        >>> check_device('cpu')
    """
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f'device {device!r} cannot be used here ({reason}); use cpu or cuda:0') from error
