"""From any checkpoint with a FasterNet to a small file of its weights."""

import io
from pathlib import Path

import safetensors.torch
import torch

from mmfasternet.errors import UserError
from mmfasternet.files import write_file

from .download import without_secrets
from .reader import read_checkpoint
from .state_dict import StateDict, check_finite, drop_classifier, fasternet_state_dict

__all__ = ['check_suffix', 'save_backbone', 'save_weights']


def save_backbone(source: str | Path, target: str | Path, prefix: str | None = None, trust: bool = False) -> int:
    """Write the FasterNet of any checkpoint to a file of weights alone, with this project's keys.

    The classifier is left out. ``torch.load(weights_only=True)`` reads the file, and so does ``init_cfg``.

    Args:
        source: Path or http(s) URL of a file that holds a FasterNet in any supported form.
        target: File to write, ``.pth`` or ``.safetensors``; it is written completely or not at all.
        prefix: Where in the source the backbone lies, such as 'backbone.'. None finds it. Defaults to None.
        trust: As in :func:`~mmfasternet.weights.read_checkpoint`. Defaults to False.

    Returns:
        Number of entries written.

    Raises:
        MissingCheckpointError: If there is no such file.
        CheckpointError: If the source can't be read, is refused, or holds no FasterNet, or one with weights that
            are NaN or infinite.
        UserError: If the target can't be written or has another suffix.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> torch.save(dict(model=FasterNet('t0').state_dict()), 'trained.pth')
        >>> save_backbone('trained.pth', 'fasternet_t0.safetensors')
        148
    """
    check_suffix(target)
    found = fasternet_state_dict(read_checkpoint(source, trust=trust), without_secrets(source), prefix)
    check_finite(found, without_secrets(source))
    weights = drop_classifier(found)
    save_weights(weights, target)
    return len(weights)


def check_suffix(target: str | Path) -> None:
    """Make sure that a file's name says in which of the two forms it is to be written.

    Args:
        target: The file.

    Raises:
        UserError: If it ends neither in ``.pth`` nor in ``.safetensors``.

    Example:
        >>> check_suffix('fasternet_t0.pth')
    """
    if Path(target).suffix not in ('.pth', '.safetensors'):
        raise UserError(f'{target} must end in .pth or .safetensors')


def save_weights(weights: StateDict, target: str | Path) -> None:
    """Write a file of weights alone, in the form that its suffix says.

    Args:
        weights: Tensors by key.
        target: File to write, ``.pth`` or ``.safetensors``; it is written completely or not at all.

    Raises:
        UserError: If it can't be written.

    Example:
        >>> save_weights(dict(weight=torch.ones(2)), 'example.safetensors')
        >>> read_checkpoint('example.safetensors')
        {'weight': tensor([1., 1.])}
    """
    # Cloned, since a view would be saved with the complete storage that it shares.
    weights = {key: value.clone() for key, value in weights.items()}
    if Path(target).suffix == '.safetensors':
        content = safetensors.torch.save(weights)
    else:
        buffer = io.BytesIO()
        torch.save(dict(state_dict=weights), buffer)
        content = buffer.getvalue()
    write_file(target, content)
