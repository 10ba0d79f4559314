"""State dicts: find a FasterNet in one, give it this project's keys, and check that it fits a model.

Supported are the authors' classifiers and detectors, timm's ``fasternet_*`` (also as ``features_only``), and detectors
of mmdet 2 and 3; bare or inside ``state_dict``, ``model`` or ``model_state_dict``; with or without the prefixes
``module.`` and ``backbone.``.
"""

import re
from typing import Any

from torch import Tensor, nn

from .reader import CheckpointError
from .saved import printable

__all__ = [
    'StateDict',
    'check_finite',
    'check_whole_model',
    'classifier_state_dict',
    'drop_classifier',
    'fasternet_state_dict',
    'load_exactly',
    'match_backbone',
    'strip_prefix',
    'timm_state_dict',
    'unwrap',
]

StateDict = dict[str, Tensor]

_MOST_WRAPPINGS = 9

# First parts of the keys of a classifier: the authors' two, then timm's.
_CLASSIFIER = ('avgpool_pre_head.', 'head.', 'conv_head.', 'classifier.')


def fasternet_state_dict(checkpoint: Any, source: str, prefix: str | None = None) -> StateDict:
    """Find the FasterNet in what a checkpoint file holds, under this project's keys.

    Args:
        checkpoint: What :func:`~mmfasternet.weights.read_checkpoint` returned.
        source: Name of the file, for errors.
        prefix: Where the backbone lies, such as 'backbone.'. None finds it. Defaults to None.

    Returns:
        Key → tensor, with the keys of the authors' code, including the classifier if the file has one.

    Raises:
        CheckpointError: If the file holds no FasterNet there.

    Example:
        >>> from mmfasternet import FasterNet
        >>> state_dict = {f'backbone.{key}': value for key, value in FasterNet('t0').state_dict().items()}
        >>> list(fasternet_state_dict(state_dict, 'example'))[0]
        'patch_embed.proj.weight'
    """
    state_dict = unwrap(checkpoint, source)
    if prefix is not None:
        lead = prefix if prefix.endswith('.') else f'{prefix}.'
        inner = strip_prefix(state_dict, lead) or strip_prefix(strip_prefix(state_dict, 'module.'), lead)
        if not inner:
            raise CheckpointError(f'{source} has no entry under prefix={prefix!r}; it has {_examples(state_dict)}')
        state_dict = inner
    while inner := strip_prefix(state_dict, 'module.') or strip_prefix(state_dict, 'backbone.'):
        state_dict = inner
    # Both, since Swin Transformers have the first as well.
    for part in ('patch_embed.proj.weight', 'partial_conv3.weight'):
        if not any(f'.{key}'.endswith(f'.{part}') for key in state_dict):
            raise CheckpointError(f'{source} holds no FasterNet: it lacks {part}; it has {_examples(state_dict)}')
    state_dict = _from_timm(state_dict)
    if 'patch_embed.proj.weight' not in state_dict:
        found = [match[1] for key in state_dict if (match := re.match(r'(.*\.)patch_embed\.proj\.weight$', key))]
        raise CheckpointError(
            f'{source} holds a FasterNet under another prefix: set prefix={" or ".join(map(ascii, found[:3]))}'
        )
    return state_dict


def classifier_state_dict(state_dict: StateDict) -> StateDict:
    """Rename the authors' classifier, or timm's, to mmpretrain's ``ImageClassifier`` of a FasterNet and its head.

    Args:
        state_dict: Tensors by key.

    Returns:
        Key → tensor, the backbone's under ``backbone.`` and the head's under ``head.``. Anything but such a classifier
        is returned unchanged.

    Example:
        >>> import torch
        >>> state_dict = {'patch_embed.proj.weight': torch.ones(1), 'head.bias': torch.ones(1)}
        >>> list(classifier_state_dict(state_dict))
        ['backbone.patch_embed.proj.weight', 'head.head.bias']
    """
    bare = strip_prefix(state_dict, 'module.') or state_dict
    if 'patch_embed.proj.weight' not in bare:
        return state_dict
    renamed = _from_timm(bare)
    return {f'{"head" if key.startswith(_CLASSIFIER) else "backbone"}.{key}': value for key, value in renamed.items()}


def timm_state_dict(state_dict: StateDict) -> StateDict:
    """Rename a FasterNet to timm's keys, the inverse of what :func:`fasternet_state_dict` does to timm's files.

    Args:
        state_dict: Tensors by this project's keys, with or without the classifier.

    Returns:
        Key → tensor. The norms of the outputs are left out, since timm's network has none.

    Example:
        >>> import torch
        >>> keys = ('stages.1.norm.bias', 'stages.2.blocks.0.mlp.0.weight', 'norm2.bias', 'head.bias')
        >>> list(timm_state_dict({key: torch.ones(1) for key in keys}))
        ['stages.1.downsample.norm.bias', 'stages.1.blocks.0.mlp.0.weight', 'classifier.bias']
    """
    renamed = {}
    for key, value in state_dict.items():
        if not _is_output_norm(key):
            key = re.sub(r'^stages\.([135])\.', lambda m: f'stages.{(int(m[1]) + 1) // 2}.downsample.', key)
            key = re.sub(r'^stages\.([0246])\.blocks\.', lambda m: f'stages.{int(m[1]) // 2}.blocks.', key)
            key = re.sub(r'^avgpool_pre_head\.1\.', 'conv_head.', key)
            key = re.sub(r'^head\.', 'classifier.', key)
            renamed[key] = value
    return renamed


def drop_classifier(state_dict: StateDict) -> StateDict:
    """Leave out the classifier's entries, by the authors' names or by timm's.

    Args:
        state_dict: Tensors by key, without a prefix.

    Returns:
        The other entries.

    Example:
        >>> import torch
        >>> list(drop_classifier({'stem.weight': torch.ones(1), 'head.bias': torch.ones(1)}))
        ['stem.weight']
    """
    return {key: value for key, value in state_dict.items() if not key.startswith(_CLASSIFIER)}


def strip_prefix(state_dict: StateDict, prefix: str) -> StateDict:
    """Select the entries whose keys start with a prefix, and remove it.

    Args:
        state_dict: Tensors by key.
        prefix: The prefix, with its dot.

    Returns:
        The selected entries.

    Example:
        >>> import torch
        >>> strip_prefix({'backbone.weight': torch.ones(1), 'neck.weight': torch.ones(1)}, 'backbone.')
        {'weight': tensor([1.])}
    """
    return {key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix)}


def unwrap(checkpoint: Any, source: str) -> StateDict:
    """Find the state dict of a checkpoint, bare or inside one of the usual wrappings.

    Args:
        checkpoint: What :func:`~mmfasternet.weights.read_checkpoint` returned.
        source: Name of the file, for errors.

    Returns:
        Its tensors by key.

    Raises:
        CheckpointError: If there are none, or a key is no text.

    Example:
        >>> import torch
        >>> unwrap(dict(epoch=3, state_dict=dict(weight=torch.ones(1))), 'example.pth')
        {'weight': tensor([1.])}
    """
    # A file of any source has few of them; one that a caller made may hold itself.
    for _ in range(_MOST_WRAPPINGS):
        wrapped = []
        if isinstance(checkpoint, dict):
            wrapped = [checkpoint[key] for key in ('state_dict', 'model', 'model_state_dict') if key in checkpoint]
        if not wrapped:
            break
        checkpoint = wrapped[0]
    tensors = {}
    if isinstance(checkpoint, dict):
        tensors = {key: value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f'{source} holds no state dict, but a {type(checkpoint).__name__} without tensors')
    if unnamed := [key for key in tensors if not isinstance(key, str)]:
        raise CheckpointError(f'{source} holds no state dict: names of weights are texts, not {_examples(unnamed)}')
    return tensors


def check_finite(state_dict: StateDict, source: str) -> None:
    """Check that a training that failed has not left its mark in the weights or in the statistics of a norm.

    Args:
        state_dict: Tensors by key.
        source: Name of the file, for errors.

    Raises:
        CheckpointError: If an entry has a value that is NaN or infinite.

    Example:
        >>> import torch
        >>> check_finite(dict(weight=torch.tensor([1, float('nan')])), 'example.pth')
        Traceback (most recent call last):
        mmfasternet.weights.reader.CheckpointError: example.pth is unusable: 1 of 1 entries have values that are NaN ...
    """
    broken = [key for key, value in state_dict.items() if not value.isfinite().all()]
    if broken:
        raise CheckpointError(
            f'{source} is unusable: {len(broken)} of {len(state_dict)} entries have values that are NaN or infinite: '
            f'{_examples(broken)}. The training that wrote it has diverged; take an earlier checkpoint.'
        )


def load_exactly(module: nn.Module, state_dict: StateDict, source: str, target: str) -> None:
    """Load a state dict that fits in every entry, or leave the module unchanged.

    Args:
        module: The module.
        state_dict: Its entries.
        source: Name of the file, for errors.
        target: Name of the module, for errors.

    Raises:
        CheckpointError: If an entry is missing, unknown, of another shape or kind, or not finite.

    Example:
        >>> import torch
        >>> norm = torch.nn.LayerNorm(2)
        >>> load_exactly(norm, dict(weight=torch.ones(2), bias=torch.rand(2)), 'norm.pth', 'this norm')
        >>> load_exactly(norm, dict(weight=torch.ones(2)), 'norm.pth', 'this norm')
        Traceback (most recent call last):
        mmfasternet.weights.reader.CheckpointError: norm.pth does not fit this norm: 1 missing: bias
    """
    if problems := _differences(state_dict, module.state_dict()):
        raise CheckpointError(f'{source} does not fit {target}: {"; ".join(problems)}')
    check_finite(state_dict, source)
    module.load_state_dict(state_dict)


def match_backbone(model: nn.Module, found: StateDict, source: str) -> tuple[StateDict, list[str], list[str]]:
    """Check that a file's FasterNet fits a backbone in every entry that the backbone needs.

    Args:
        model: The backbone, a :class:`~mmfasternet.FasterNet`.
        found: What :func:`fasternet_state_dict` returned.
        source: Name of the file, for errors.

    Returns:
        The entries to load; the file's keys that the backbone has no use for; and the backbone's keys that keep their
        initial values, those of all output norms or none.

    Raises:
        CheckpointError: If an entry is missing, unknown, of another shape or kind, or not finite. If the file was made
            with other arguments, the error names them.

    Example:
        >>> from mmfasternet import FasterNet
        >>> state_dict = FasterNet('t0').state_dict()
        >>> taken, dropped, fresh = match_backbone(FasterNet('t0', out_indices=(3,)), state_dict, 'fasternet_t0.pth')
        >>> len(taken), len(dropped), len(fresh)
        (133, 15, 0)
    """
    expected = model.state_dict()
    dropped = [key for key in found if _is_unused(key, expected)]
    taken = {key: value for key, value in found.items() if key not in dropped}
    fresh = [] if any(map(_is_output_norm, found)) else [key for key in expected if _is_output_norm(key)]
    if problems := _differences(taken, {key: value for key, value in expected.items() if key not in fresh}):
        hint = _explain(found, taken, expected, model)
        raise CheckpointError(f'{source} does not fit this FasterNet: {hint}{"; ".join(problems)}')
    check_finite(taken, source)
    return taken, dropped, fresh


def check_whole_model(
    model: nn.Module, state_dict: StateDict, source: str, heads_may_differ: bool
) -> tuple[StateDict, list[str]]:
    """Check that a state dict fits a detector, segmentor or classifier in every entry.

    Args:
        model: The model that is about to load it.
        state_dict: Tensors by key, without the prefix ``module.``; entries that the model lacks are ignored.
        source: Name of the file, for errors.
        heads_may_differ: Whether heads for another number of classes are left out rather than refused.

    Returns:
        The entries to load, and the keys of those left out.

    Raises:
        CheckpointError: If an entry of the model is missing, has another shape or kind, or is not finite.

    Example:
        >>> import torch
        >>> state_dict = dict(weight=torch.ones(1, 2), bias=torch.ones(1))
        >>> check_whole_model(torch.nn.Linear(2, 1), state_dict, 'linear.pth', heads_may_differ=False)
        ({'weight': tensor([[1., 1.]]), 'bias': tensor([1.])}, [])
    """
    expected = model.state_dict()
    if any(key.startswith('head.avgpool_pre_head.') for key in expected):
        state_dict = classifier_state_dict(state_dict)
    other_classes = [
        key
        for key, value in state_dict.items()
        if heads_may_differ and key in expected and _is_other_class_count(key, value, expected[key])
    ]
    taken = {key: value for key, value in state_dict.items() if key in expected and key not in other_classes}
    if problems := _differences(taken, {key: value for key, value in expected.items() if key not in other_classes}):
        hint = ''
        if not any(key.startswith('backbone.') for key in state_dict):
            hint = "it has no detector; pre-trained backbones go into backbone.init_cfg=dict(type='Pretrained', ...); "
        raise CheckpointError(f'{source} does not fit this {type(model).__name__}: {hint}{"; ".join(problems)}')
    check_finite(taken, source)
    return taken, other_classes


def _differences(found: StateDict, expected: StateDict) -> list[str]:
    """A clause for each way in which a state dict differs from what is expected."""
    missing = [key for key in expected if key not in found]
    unknown = [key for key in found if key not in expected]
    misshapen = [
        f'{key} {tuple(found[key].shape)} instead of {tuple(expected[key].shape)}'
        for key in expected
        if key in found and found[key].shape != expected[key].shape
    ]
    # Copied into floats, a complex number would lose its half, and a quantized one its scale.
    unlike = [
        f'{key} {found[key].dtype} instead of {expected[key].dtype}'
        for key in expected
        if key in found and expected[key].is_floating_point() and not found[key].is_floating_point()
    ]
    kinds = {
        'missing': missing,
        'not part of the model': unknown,
        'of another shape': misshapen,
        'of another kind': unlike,
    }
    return [f'{len(entries)} {kind}: {_examples(entries)}' for kind, entries in kinds.items() if entries]


def _explain(found: StateDict, taken: StateDict, expected: StateDict, model: nn.Module) -> str:
    """What to change so that the file fits, as far as its entries tell."""
    if any(key in expected and value.ndim != expected[key].ndim for key, value in taken.items()):
        return ''
    theirs, ours = model.describe(taken), model.describe(expected)
    if theirs['in_channels'] != ours['in_channels']:
        return (
            f'it was trained on images of {theirs["in_channels"]} channels, but in_channels={ours["in_channels"]} was '
            'asked for; '
        )
    if theirs['has_bn'] != ours['has_bn']:
        without = '' if theirs['has_bn'] else 'out'
        return f'it was trained with{without} BN; set norm_cfg to match; '
    if theirs['has_layer_scale'] != ours['has_layer_scale']:
        without = '' if theirs['has_layer_scale'] else 'out'
        return f'it was trained with{without} layer scale; set layer_scale_init_value to match; '
    if theirs['arch'] != ours['arch']:
        return f'it fits arch={model.describe(found)["arch"]!r}, but arch={model.arch!r} was asked for; '
    return ''


def _from_timm(state_dict: StateDict) -> StateDict:
    """Give timm's stages, which hold their merging layer as ``downsample``, and its classifier the authors' names."""
    if not any(re.match(r'stages(_\d|\.\d\.downsample)\.', key) for key in state_dict):
        return state_dict
    renamed = {}
    for key, value in state_dict.items():
        key = re.sub(r'^stages[._](\d)\.downsample\.', lambda m: f'stages.{2 * int(m[1]) - 1}.', key)
        key = re.sub(r'^stages[._](\d)\.blocks\.', lambda m: f'stages.{2 * int(m[1])}.blocks.', key)
        key = re.sub(r'^conv_head\.', 'avgpool_pre_head.1.', key)
        key = re.sub(r'^classifier\.', 'head.', key)
        renamed[key] = value
    return renamed


def _is_output_norm(key: str) -> bool:
    """Whether an entry belongs to the norm of an output."""
    return re.match(r'norm[0246]\.', key) is not None


def _is_unused(key: str, expected: StateDict) -> bool:
    """Whether an entry belongs to the classifier, or to a stage or output that this backbone was not asked for."""
    if key.startswith(_CLASSIFIER):
        return True
    part = re.match(r'(stages\.\d|norm[0246])\.', key)
    return part is not None and not any(name.startswith(part[0]) for name in expected)


def _is_other_class_count(key: str, value: Tensor, expected: Tensor) -> bool:
    """Whether an entry belongs to a head and differs in the number of classes alone."""
    in_head = any(part.endswith('head') and part != 'rpn_head' for part in key.split('.'))
    return in_head and value.shape[1:] == expected.shape[1:] and value.shape != expected.shape


def _examples(entries: list[str] | StateDict, most: int = 3) -> str:
    """The first few of many keys."""
    shown = ', '.join(map(printable, list(entries)[:most]))
    return f'{shown}, …' if len(entries) > most else shown
