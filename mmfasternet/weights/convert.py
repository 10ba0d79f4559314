"""Any checkpoint with a FasterNet in, a small file of its weights out."""

import os
from pathlib import Path

import safetensors.torch
import torch

from mmfasternet.errors import UserError

from .reader import read_checkpoint
from .state_dict import CLASSIFIER, fasternet_state_dict

__all__ = ['save_backbone']


def save_backbone(source: str | Path, target: str | Path, prefix: str | None = None, trust: bool = False) -> int:
    """Write the FasterNet of any checkpoint as a file of weights alone, under this project's keys.

    The classifier is left out. The file loads by ``torch.load(weights_only=True)``, and through ``init_cfg``.

    Args:
        source: Path or http(s) address of any form that :func:`fasternet_state_dict` understands.
        target: File to write, ``.pth`` or ``.safetensors``; it appears whole or not at all.
        prefix: Where in the file the backbone lies. None finds it. Defaults to None.
        trust: Whether to unpickle anything the source asks for. Defaults to False.

    Returns:
        Number of entries written.

    Raises:
        MissingCheckpointError: If there is no such file.
        CheckpointError: If the source can't be read, is refused, or holds no FasterNet.
        UserError: If the target can't be written, or has another suffix.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> torch.save(dict(model=FasterNet('t0').state_dict()), 'trained.pth')
        >>> save_backbone('trained.pth', 'fasternet_t0.safetensors')
        148
    """
    target = Path(target)
    if target.suffix not in ('.pth', '.safetensors'):
        raise UserError(f'{target} must end in .pth or .safetensors')
    found = fasternet_state_dict(read_checkpoint(source, trust=trust), str(source), prefix)
    # Cloned: a tensor that is a view would take its whole storage into the file.
    weights = {key: value.clone() for key, value in found.items() if not key.startswith(CLASSIFIER)}
    part = target.with_name(f'{target.name}.part')
    try:
        if target.suffix == '.safetensors':
            safetensors.torch.save_file(weights, part)
        else:
            torch.save(dict(state_dict=weights), part)
        os.replace(part, target)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise UserError(f'can not write {target}: {error}') from error
    return len(weights)
