"""From a config to a model, and from a checkpoint to its weights."""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmfasternet.errors import UserError
from mmfasternet.weights.reader import read_checkpoint
from mmfasternet.weights.state_dict import check_whole_model, unwrap

from .config import load_config

__all__ = ['build_model', 'load_model']


def build_model(config: str | Path, options: dict | None = None) -> tuple[Config, nn.Module]:
    """Build the model of a config in eval mode, with random weights and without downloading any.

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
    if not isinstance(cfg.get('model'), dict) or 'backbone' not in cfg.model:
        raise UserError(f'{config} has nothing to build: it should have a model with a backbone')
    cfg.model.backbone.init_cfg = None
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    try:
        model = MODELS.build(cfg.model)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise UserError(f'the model of {config} can not be built: {error}') from error
    return cfg, model.eval()


def load_model(model: nn.Module, checkpoint: str | Path) -> None:
    """Load a checkpoint into a model: every entry, or an error.

    Args:
        model: Of :func:`build_model`, or any other.
        checkpoint: Path or http(s) URL of what a training run saved.

    Raises:
        CheckpointError: If it can't be read or doesn't fit.
    """
    state_dict = unwrap(read_checkpoint(checkpoint), str(checkpoint))
    taken, _ = check_whole_model(model, state_dict, str(checkpoint), heads_may_differ=False)
    model.load_state_dict(taken, strict=False)
