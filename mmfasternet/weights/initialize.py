"""From a checkpoint file into a model: completely, or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule, PretrainedInit, update_init_info
from torch import nn

from .download import without_secrets
from .reader import read_checkpoint
from .state_dict import fasternet_state_dict, match_backbone

__all__ = ['is_pretrained', 'load_pretrained', 'pretrained_by']


def load_pretrained(
    model: nn.Module,
    checkpoint: str | Path,
    prefix: str | None = None,
    map_location: Any = 'cpu',
    trust: bool = False,
) -> None:
    """Load a pre-trained FasterNet into a backbone, completely or not at all.

    The classifier is dropped. Output norms keep their initial values if the file has none, as files trained on ImageNet
    do. The log says how many entries were loaded, dropped and left at their initial values.

    Args:
        model: The backbone, a :class:`~mmfasternet.FasterNet`.
        checkpoint: Path or URL.
        prefix: Where in the file the backbone lies, such as 'backbone.'. None finds it. Defaults to None.
        map_location: Device that tensors are read to. Defaults to 'cpu'.
        trust: As in :func:`~mmfasternet.weights.read_checkpoint`. Defaults to False.

    Raises:
        MissingCheckpointError: If there is no such file.
        CheckpointError: If the file can't be read, is refused, or does not fit the model.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> torch.save(FasterNet('t0').state_dict(), 'fasternet_t0.pth')
        >>> load_pretrained(FasterNet('t0'), 'fasternet_t0.pth')
    """
    source = without_secrets(checkpoint)
    found = fasternet_state_dict(read_checkpoint(checkpoint, map_location, trust), source, prefix)
    taken, dropped, fresh = match_backbone(model, found, source)
    model.load_state_dict(taken, strict=False)
    print_log(
        f'FasterNet from {source}: {len(taken)} entries loaded, {len(dropped)} dropped (classifier, unused stages '
        f'and outputs), {len(fresh)} not in the file and at their initial values (output norms)',
        logger='current',
    )


def is_pretrained(cfg: dict) -> bool:
    """Tell whether an entry of ``init_cfg`` names a checkpoint.

    Args:
        cfg: The entry.

    Returns:
        Whether it does.

    Example:
        >>> is_pretrained(dict(type='Pretrained', checkpoint='fasternet_s.pth')), is_pretrained(dict(type='Xavier'))
        (True, False)
    """
    return cfg.get('type') in ('Pretrained', PretrainedInit)


@contextmanager
def pretrained_by(load: Callable[..., None], module: BaseModule) -> Iterator[None]:
    """Let ``init_cfg=dict(type='Pretrained', ...)`` of a module call another function than mmengine's own.

    mmengine's loads what fits and only logs the rest. Afterwards the module has its ``init_cfg`` back.

    Args:
        load: Called with the module and, as keywords, the entries beside ``type``.
        module: A module that is about to run mmengine's ``init_weights``.

    Example:
        >>> class Norm(BaseModule):
        ...     def init_weights(self):
        ...         with pretrained_by(lambda module, checkpoint: print('load', checkpoint), self):
        ...             super().init_weights()
        >>> Norm(init_cfg=dict(type='Pretrained', checkpoint='norm.pth')).init_weights()
        load norm.pth
    """

    def initializer(**options: Any) -> Callable[[nn.Module], None]:
        def initialize(module: nn.Module) -> None:
            load(module, **options)
            update_init_info(
                module, init_info=f'{type(module).__name__} pre-trained: {without_secrets(options["checkpoint"])}'
            )

        return initialize

    init_cfg = module.init_cfg
    # Files last, as in mmengine, so that no other entry overwrites what they hold.
    configs = sorted([init_cfg] if isinstance(init_cfg, dict) else init_cfg or [], key=is_pretrained)
    module.init_cfg = [dict(cfg, type=initializer) if is_pretrained(cfg) else cfg for cfg in configs]
    try:
        yield
    finally:
        module.init_cfg = init_cfg
