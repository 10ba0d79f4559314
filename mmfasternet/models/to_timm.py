"""A FasterNet that was trained here, written to a file that timm's ``fasternet_*`` load."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from mmfasternet.weights.convert import check_suffix, save_weights
from mmfasternet.weights.download import without_secrets
from mmfasternet.weights.reader import CheckpointError, read_checkpoint
from mmfasternet.weights.state_dict import (
    StateDict,
    drop_classifier,
    fasternet_state_dict,
    load_exactly,
    match_backbone,
    strip_prefix,
    timm_state_dict,
    unwrap,
)

from .fasternet import FasterNet
from .variants import VARIANTS

__all__ = ['TimmFile', 'save_for_timm']

# Width of timm's classifier before its last layer.
_HIDDEN_CHANNELS = 1280


class TimmFile(NamedTuple):
    """What was written for timm.

    Attributes:
        name: The network, such as 'fasternet_t0'.
        options: What ``timm.create_model`` needs besides the name: ``in_chans`` if it is not 3, and ``num_classes`` if
            the file has the classifier.
        entries: Number of entries.
        left_out: The norms of outputs in the source, such as 'norm0', which timm's network lacks.
    """

    name: str
    options: dict[str, int]
    entries: int
    left_out: tuple[str, ...]

    def notes(self, target: str | Path) -> list[str]:
        """Say what was left out, and how timm loads the file.

        Args:
            target: The file.

        Returns:
            Lines of text.

        Example:
            >>> for line in TimmFile('fasternet_t0', dict(num_classes=7), 131, ()).notes('fruit.pth'):
            ...     print(line)
            classifier: timm.create_model('fasternet_t0', num_classes=7, checkpoint_path='fruit.pth')
            feature maps: timm.create_model('fasternet_t0', features_only=True, pretrained=True,
              pretrained_cfg_overlay=dict(file='fruit.pth'))
        """
        lines = []
        if self.left_out:
            lines.append(f"left out: {', '.join(self.left_out)}; timm's feature maps are those before these norms")
        channels = ''.join(f', in_chans={count}' for name, count in self.options.items() if name == 'in_chans')
        if 'num_classes' in self.options:
            call = f'{self.name!r}{channels}, num_classes={self.options["num_classes"]}'
            lines.append(f'classifier: timm.create_model({call}, checkpoint_path={str(target)!r})')
        lines.append(
            f'feature maps: timm.create_model({self.name!r}{channels}, features_only=True, pretrained=True,\n'
            f'  pretrained_cfg_overlay=dict(file={str(target)!r}))'
        )
        return lines


def save_for_timm(source: str | Path, target: str | Path, prefix: str | None = None, trust: bool = False) -> TimmFile:
    """Write the FasterNet of any checkpoint to a file of weights alone, with timm's keys.

    The classifier goes along, if the file has this project's ``FasterNetClsHead`` or the authors' classifier. The
    norms of the outputs do not: timm's feature maps are those before them. The activation is not in the weights: timm's
    is that of the variant.

    Args:
        source: Path or http(s) URL of a file that holds a FasterNet in any supported form.
        target: File to write, ``.pth`` or ``.safetensors``; it is written completely or not at all.
        prefix: Where in the source the backbone lies, such as 'backbone.'; what lies elsewhere, such as a head, is left
            out. None finds it. Defaults to None.
        trust: As in :func:`~mmfasternet.weights.read_checkpoint`. Defaults to False.

    Returns:
        What was written, and how timm builds it.

    Raises:
        MissingCheckpointError: If there is no such file.
        CheckpointError: If the source can't be read, is refused, or holds no FasterNet, or one that timm lacks.
        UserError: If the target can't be written or has another suffix.

    Example:
        >>> torch.save(FasterNet('t0').state_dict(), 'trained.pth')
        >>> written = save_for_timm('trained.pth', 'for_timm.safetensors')
        >>> written.name, written.entries, written.left_out
        ('fasternet_t0', 128, ('norm0', 'norm2', 'norm4', 'norm6'))
    """
    check_suffix(target)
    checkpoint, shown = read_checkpoint(source, trust=trust), without_secrets(source)
    found = fasternet_state_dict(checkpoint, shown, prefix)
    backbone = drop_classifier(found)
    head = {key: value for key, value in found.items() if key not in backbone}
    if prefix is None and not head:
        head = _mmpretrain_head(unwrap(checkpoint, shown))

    arch, in_channels = _timm_variant(backbone, shown)
    with torch.device('meta'):
        expected = FasterNet(arch, in_channels=in_channels, out_norm=False)
    taken, dropped, _ = match_backbone(expected, backbone, shown)
    left_out = tuple(dict.fromkeys(key.partition('.')[0] for key in dropped))
    options = {} if in_channels == 3 else dict(in_chans=in_channels)
    if head:
        _check_head(head, VARIANTS[arch].channels[-1], left_out, shown)
        options['num_classes'] = len(head['head.bias'])
    weights = timm_state_dict(taken | head)
    save_weights(weights, target)
    return TimmFile(f'fasternet_{arch}', options, len(weights), left_out)


def _mmpretrain_head(state_dict: StateDict) -> StateDict:
    """The head of an ``ImageClassifier``; detectors and segmentors have none of that name."""
    return strip_prefix(strip_prefix(state_dict, 'module.') or state_dict, 'head.')


def _timm_variant(backbone: StateDict, source: str) -> tuple[str, int]:
    """The variant, which timm has by the same name, and the channels of its images."""
    try:
        found = FasterNet.describe(backbone)
    except (ArithmeticError, IndexError, ValueError) as error:
        raise CheckpointError(f'{source} holds no FasterNet: its weights have impossible shapes ({error})') from error
    refused = None
    if found['has_layer_scale']:
        refused = 'it was trained with layer scale'
    elif not found['has_bn']:
        refused = 'its norms are not BN'
    elif isinstance(found['arch'], dict):
        refused = f'it has arch={found["arch"]}'
    if refused:
        raise CheckpointError(
            f"{source} cannot be written for timm: {refused}. timm's fasternet_* are the complete variants "
            f'{", ".join(VARIANTS)}, with BN and without layer scale'
        )
    return found['arch'], found['in_channels']


def _check_head(head: StateDict, channels: int, norms: tuple[str, ...], source: str) -> None:
    """Check that timm's classifier computes what this one does."""
    alone = 'pass --prefix backbone (in Python prefix) to write the backbone alone'
    if head.keys() != {'avgpool_pre_head.1.weight', 'head.weight', 'head.bias'}:
        raise CheckpointError(
            f"{source} cannot be written for timm: its head is not FasterNet's classifier (FasterNetClsHead); {alone}"
        )
    if norms:
        raise CheckpointError(
            f'{source} cannot be written for timm: its classifier takes the output of {norms[-1]}, which timm lacks '
            f'(out_norm=False trains without it); {alone}'
        )
    theirs = nn.ModuleDict(
        dict(
            conv_head=nn.Conv2d(channels, _HIDDEN_CHANNELS, 1, bias=False),
            classifier=nn.Linear(_HIDDEN_CHANNELS, head['head.bias'].numel()),
        )
    )
    load_exactly(theirs, timm_state_dict(head), f'the classifier of {source}', "timm's")
