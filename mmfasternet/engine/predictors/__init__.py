"""What a model of each task predicts for images without annotations, as entries of a JSON and as drawings."""

from importlib import import_module

from mmengine.config import Config

from mmfasternet.predictions import Predictor

__all__ = ['predictor_class']

# Scope → the file of its task, which is imported where its package is needed.
_TASKS = dict(mmdet='detection', mmseg='segmentation', mmpretrain='classification')


def predictor_class(cfg: Config) -> type[Predictor]:
    """The predictor of a config's task.

    Args:
        cfg: The config, see :func:`~mmfasternet.engine.config.load_config`.

    Returns:
        A class, to be called with the config, a checkpoint, a device and a lowest score.

    Example:
        >>> predictor_class(Config(dict(default_scope='mmdet'))).__name__
        'DetectionPredictor'
    """
    task = _TASKS.get(cfg.get('default_scope'), 'detection')
    return getattr(import_module(f'.{task}', __name__), f'{task.capitalize()}Predictor')
