"""What a state dict of FasterNet is, under whatever names, and how it becomes ours.

Forms that are understood: the authors' classifiers and detectors, timm's ``fasternet_*`` (also as ``features_only``),
and detectors of mmdet 2 and 3; bare or inside ``state_dict``, ``model`` or ``model_state_dict``; with or without the
prefixes ``module.`` and ``backbone.``.
"""

import re
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model import update_init_info
from torch import Tensor, nn

from .reader import CheckpointError, read_checkpoint

__all__ = [
    'FasterNetPretrainedInit',
    'check_whole_model',
    'classifier_state_dict',
    'fasternet_state_dict',
    'load_pretrained',
    'unwrap',
]

StateDict = dict[str, Tensor]

# The classifier of the authors' files, and of timm's.
CLASSIFIER = ('avgpool_pre_head.', 'head.', 'conv_head.', 'classifier.')


class FasterNetPretrainedInit:
    """``init_cfg=dict(type='Pretrained', ...)`` of a FasterNet: :func:`load_pretrained` as mmengine's initializer.

    Args:
        checkpoint: Path or http(s) address.
        prefix: Where in the file the backbone lies. None finds it. Defaults to None.
        map_location: Where tensors are read to. Defaults to 'cpu'.
        trust: Whether to unpickle anything the file asks for. Defaults to False.
    """

    def __init__(
        self, checkpoint: str | Path, prefix: str | None = None, map_location: Any = 'cpu', trust: bool = False
    ) -> None:
        self.checkpoint = checkpoint
        self.options = dict(prefix=prefix, map_location=map_location, trust=trust)

    def __call__(self, module: nn.Module) -> None:
        load_pretrained(module, self.checkpoint, **self.options)
        update_init_info(module, init_info=f'FasterNet pre-trained: {self.checkpoint}')


def load_pretrained(
    model: nn.Module,
    checkpoint: str | Path,
    prefix: str | None = None,
    map_location: Any = 'cpu',
    trust: bool = False,
) -> None:
    """Load a pre-trained FasterNet into a backbone, whole or not at all.

    The classifier is dropped. Output norms start fresh where the file has none, as ImageNet files do. How many entries
    were taken, dropped and left fresh is logged.

    Args:
        model: The backbone, a :class:`FasterNet`.
        checkpoint: Path or http(s) address.
        prefix: Where in the file the backbone lies, such as 'backbone.'. None finds it. Defaults to None.
        map_location: Where tensors are read to. Defaults to 'cpu'.
        trust: Whether to unpickle anything the file asks for. Defaults to False.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file can't be read, is refused, or does not fit the model.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> torch.save(FasterNet('t0').state_dict(), 'fasternet_t0.pth')
        >>> load_pretrained(FasterNet('t0'), 'fasternet_t0.pth')
    """
    found = fasternet_state_dict(read_checkpoint(checkpoint, map_location, trust), str(checkpoint), prefix)
    expected = model.state_dict()
    unused = [key for key in found if is_unused(key, expected)]
    taken = {key: value for key, value in found.items() if key not in unused}
    fresh = [] if any(is_output_norm(key) for key in found) else [key for key in expected if is_output_norm(key)]
    problems = compare(taken, {key: value for key, value in expected.items() if key not in fresh})
    if problems:
        hint = explain(found, taken, expected, model)
        raise CheckpointError(f'{checkpoint} does not fit this FasterNet: {hint}{"; ".join(problems)}')
    model.load_state_dict(taken, strict=False)
    print_log(
        f'FasterNet from {checkpoint}: {len(taken)} entries taken, {len(unused)} dropped (classifier, unused stages), '
        f'{len(fresh)} fresh (output norms)',
        logger='current',
    )


def fasternet_state_dict(checkpoint: Any, source: str, prefix: str | None = None) -> StateDict:
    """Find the FasterNet in what a checkpoint file holds, under this project's keys.

    Args:
        checkpoint: What :func:`read_checkpoint` returned.
        source: Name of the file, for errors.
        prefix: Where the backbone lies, such as 'backbone.'. None finds it. Defaults to None.

    Returns:
        Key → tensor, with the keys of the authors' code, classifier included where the file has one.

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
        inner = strip(state_dict, lead) or strip(strip(state_dict, 'module.'), lead)
        if not inner:
            raise CheckpointError(f'{source} has no entry under prefix={prefix!r}, but such as {examples(state_dict)}')
        state_dict = inner
    while inner := strip(state_dict, 'module.') or strip(state_dict, 'backbone.'):
        state_dict = inner
    # Swin Transformers have the first as well.
    for part in ('patch_embed.proj.weight', 'partial_conv3.weight'):
        if not any(key.endswith(part) for key in state_dict):
            raise CheckpointError(
                f'{source} holds no FasterNet: it lacks {part}, and has such as {examples(state_dict)}'
            )
    return from_timm(state_dict)


def classifier_state_dict(state_dict: StateDict) -> StateDict:
    """Rename the authors' classifier, or timm's, to mmpretrain's ``ImageClassifier`` of a FasterNet and its head.

    Args:
        state_dict: Tensors by key; others than such a classifier's stay as they are.

    Returns:
        Key → tensor, the backbone's behind ``backbone.`` and the head's behind ``head.``.

    Example:
        >>> import torch
        >>> state_dict = {'patch_embed.proj.weight': torch.ones(1), 'head.bias': torch.ones(1)}
        >>> list(classifier_state_dict(state_dict))
        ['backbone.patch_embed.proj.weight', 'head.head.bias']
    """
    bare = strip(state_dict, 'module.') or state_dict
    if 'patch_embed.proj.weight' not in bare:
        return state_dict
    return {
        f'{"head" if key.startswith(CLASSIFIER) else "backbone"}.{key}': value for key, value in from_timm(bare).items()
    }


def unwrap(checkpoint: Any, source: str) -> StateDict:
    """The tensors of a checkpoint by key, whether they lie bare or inside one of the usual wrappings."""
    while isinstance(checkpoint, dict):
        wrapped = [checkpoint[key] for key in ('state_dict', 'model', 'model_state_dict') if key in checkpoint]
        if not wrapped:
            break
        checkpoint = wrapped[0]
    tensors = {}
    if isinstance(checkpoint, dict):
        tensors = {key: value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f'{source} holds no state dict, but a {type(checkpoint).__name__} without tensors')
    return tensors


def check_whole_model(
    model: nn.Module, state_dict: StateDict, source: str, heads_may_differ: bool
) -> tuple[StateDict, list[str]]:
    """Make sure that a state dict fits a detector, segmentor or classifier in every entry.

    Args:
        model: The model that is about to load it.
        state_dict: Its entries, prefix ``module.`` stripped.
        source: Name of the file, for errors.
        heads_may_differ: Whether heads made for another number of classes are left out instead of refused.

    Returns:
        The entries to load, and the names of those left out.

    Raises:
        CheckpointError: If an entry of the model is missing or has another shape.

    Example:
        >>> import torch
        >>> check_whole_model(torch.nn.Linear(2, 1), dict(weight=torch.ones(1, 2), bias=torch.ones(1)), 'a.pth', False)
        ({'weight': tensor([[1., 1.]]), 'bias': tensor([1.])}, [])
    """
    expected = model.state_dict()
    if any(key.startswith('head.avgpool_pre_head.') for key in expected):
        state_dict = classifier_state_dict(state_dict)
    other_classes = [
        key
        for key, value in state_dict.items()
        if heads_may_differ and key in expected and is_other_class_count(key, value, expected[key])
    ]
    taken = {key: value for key, value in state_dict.items() if key in expected and key not in other_classes}
    problems = compare(taken, {key: value for key, value in expected.items() if key not in other_classes})
    if problems:
        hint = ''
        if not any(key.startswith('backbone.') for key in state_dict):
            hint = "it has no detector; pre-trained backbones go into backbone.init_cfg=dict(type='Pretrained', …); "
        raise CheckpointError(f'{source} does not fit this {type(model).__name__}: {hint}{"; ".join(problems)}')
    return taken, other_classes


def compare(found: StateDict, expected: StateDict) -> list[str]:
    """What stands between two state dicts, a sentence for each kind of difference."""
    missing = [key for key in expected if key not in found]
    unknown = [key for key in found if key not in expected]
    misshapen = [
        f'{key} {tuple(found[key].shape)} instead of {tuple(expected[key].shape)}'
        for key in expected
        if key in found and found[key].shape != expected[key].shape
    ]
    kinds = {'missing': missing, 'not part of the model': unknown, 'of another shape': misshapen}
    return [f'{len(entries)} {kind}: {examples(entries)}' for kind, entries in kinds.items() if entries]


def explain(found: StateDict, taken: StateDict, expected: StateDict, model: nn.Module) -> str:
    """What to change so that the file fits, as far as its entries tell."""
    image, model_image = (entries['patch_embed.proj.weight'].shape[1] for entries in (found, expected))
    if image != model_image:
        return f'it was trained on images of {image} channels, but in_channels={model_image}; '
    norm = 'patch_embed.norm.running_mean'
    if (norm in found) != (norm in expected):
        trained, wanted = ('BN', 'no BN') if norm in found else ('no BN', 'BN')
        return f'it was trained with {trained}, but norm_cfg={wanted} was asked for; set norm_cfg to match; '
    scaled, model_scaled = (any(key.endswith('.layer_scale') for key in entries) for entries in (found, expected))
    if scaled != model_scaled:
        return f'it was trained with{"" if scaled else "out"} layer scale; set layer_scale_init_value to match; '
    if describe_arch(taken, model.arch_settings) != describe_arch(expected, model.arch_settings):
        arch = describe_arch(found, model.arch_settings)
        return f'it fits arch={arch!r}, but arch={model.arch!r} was asked for; '
    return ''


def describe_arch(state_dict: StateDict, arch_settings: dict[str, dict]) -> str | dict:
    """The variant's name, or else the arch dict, that a state dict was made with."""
    blocks = [re.match(r'stages\.([0246])\.blocks\.(\d+)\.', key) for key in state_dict]
    counts = [{int(m[2]) for m in blocks if m and int(m[1]) == 2 * stage} for stage in range(4)]
    embed_dims = state_dict['patch_embed.proj.weight'].shape[0]
    usual = dict(mlp_ratio=2, partial_ratio=1 / 4)
    arch = dict(embed_dims=embed_dims, depths=tuple(len(count) for count in counts), **usual)
    for ratio, key in dict(mlp_ratio='mlp.0.weight', partial_ratio='spatial_mixing.partial_conv3.weight').items():
        if (weight := state_dict.get(f'stages.0.blocks.0.{key}')) is not None:
            arch[ratio] = weight.shape[0] / embed_dims
    names = [name for name, settings in arch_settings.items() if {**usual, **settings}.items() >= arch.items()]
    return names[0] if names else arch


def from_timm(state_dict: StateDict) -> StateDict:
    """Rename timm's stages 0–3, which hold their merging layer as ``downsample``, to the authors' list of seven.

    The two layers of timm's classifier get the authors' names too.
    """
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


def strip(state_dict: StateDict, lead: str) -> StateDict:
    """The entries whose keys start with ``lead``, without it."""
    return {key[len(lead) :]: value for key, value in state_dict.items() if key.startswith(lead)}


def is_output_norm(key: str) -> bool:
    return re.match(r'norm[0246]\.', key) is not None


def is_unused(key: str, expected: StateDict) -> bool:
    """Whether an entry belongs to the classifier, or to a stage or output that this backbone was not asked for."""
    if key.startswith(CLASSIFIER):
        return True
    part = re.match(r'(stages\.\d|norm[0246])\.', key)
    return part is not None and not any(name.startswith(part[0]) for name in expected)


def is_other_class_count(key: str, value: Tensor, expected: Tensor) -> bool:
    """Whether an entry belongs to a head's classifier and differs in the number of classes alone."""
    in_head = any(part.endswith('head') and part != 'rpn_head' for part in key.split('.'))
    return in_head and value.shape[1:] == expected.shape[1:] and value.shape != expected.shape


def examples(entries: list[str] | StateDict, most: int = 3) -> str:
    shown = ', '.join(list(entries)[:most])
    return f'{shown}, …' if len(entries) > most else shown
