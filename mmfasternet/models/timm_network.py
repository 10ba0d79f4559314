"""What is to be known of a network of timm before it is built: its feature maps, and the parameters behind each.

All of it is found on the meta device, where tensors have shapes and no values.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import timm
import torch
from timm.layers import Format
from timm.models._features import FeatureDictNet, FeatureGetterNet, FeatureHookNet
from torch import Tensor, nn

__all__ = ['Plan', 'as_maps', 'build_on_meta', 'feature_key', 'plan_features']

_STRIDES = (4, 8, 16, 32)
# Makes most ViTs and Swin Transformers take images of other sizes too; other networks don't know it.
_ANY_SIZE = dict(dynamic_img_size=True)


class Plan(NamedTuple):
    """How the feature maps of a network are taken.

    Attributes:
        options: What timm is to be asked for, beside the network's name.
        channels: Channels of the feature maps, in order.
        stages: Parameters that ``frozen_stages`` of 0, 1, … freezes, by their names in the features; None where the
            network has no such stage.
        behind: Parameters that a feature map depends on.
        size: Height and width of images, or None for any.
        repeats: Whether multiples of that height and width are taken as well.
    """

    options: dict[str, Any]
    channels: tuple[int, ...]
    stages: tuple[frozenset[str] | None, ...]
    behind: frozenset[str]
    size: tuple[int, int] | None
    repeats: bool


def plan_features(arch: str, out_indices: Sequence[int], img_size: tuple[int, int] | None = None) -> Plan:
    """Find the feature maps at strides 4, 8, 16 and 32, and compute their shapes.

    Args:
        arch: timm's name of the network.
        out_indices: Which of the four strides, in order.
        img_size: Height and width that the network is built for. None means those of timm. Defaults to None.

    Returns:
        The plan.

    Raises:
        ValueError: If timm can't build the network for such images, there is no map at one of the strides, or a map
            has another shape than timm says.

    Example:
        >>> plan = plan_features('resnet18', (1, 3))
        >>> plan.options['out_indices'], plan.channels, sorted(plan.stages[0])
        ((2, 4), (128, 512), ['bn1.bias', 'bn1.weight', 'conv1.weight'])
    """
    options = dict(features_only=True) if img_size is None else dict(features_only=True, img_size=img_size)
    options, features = _build(arch, options)
    info = features.feature_info.info
    # Of several maps of a stride, the last.
    index_of = {entry['reduction']: index for index, entry in enumerate(info)}
    _check_strides(arch, out_indices, list(index_of))
    last = 4 * 2 ** out_indices[-1]
    indices = tuple(index_of[stride] for stride in _STRIDES if stride in index_of and stride <= last)
    built = features.feature_info.out_indices
    if built[-1] != indices[-1] or not {*built} >= {*indices}:
        features = build_on_meta(arch, {**options, 'out_indices': indices})
    height, width = img_size or _own_size(features)
    maps = dict(zip(features.feature_info.reduction(), _compute_maps(arch, features, height, width), strict=True))
    behind = {stride: _parameters_behind(features, map_) for stride, map_ in maps.items()}
    wanted = [4 * 2**index for index in out_indices]
    takes_any = _takes(features, height + 32, width + 64)
    return Plan(
        options={**options, 'out_indices': tuple(index_of[stride] for stride in wanted)},
        channels=tuple(maps[stride].shape[1] for stride in wanted),
        stages=_stages(behind, feature_key(f'{info[indices[0]]["module"]}.', features)),
        behind=frozenset().union(*(behind[stride] for stride in wanted)),
        size=None if takes_any else (height, width),
        repeats=not takes_any and _takes(features, 2 * height, 3 * width),
    )


def build_on_meta(arch: str, options: dict[str, Any]) -> nn.Module:
    """Build a network without memory for its values.

    Args:
        arch: timm's name of the network.
        options: As for ``timm.create_model``.

    Returns:
        The network.

    Example:
        >>> next(build_on_meta('repvit_m1_1', {}).parameters()).device
        device(type='meta')
    """
    with torch.device('meta'):
        return timm.create_model(arch, **options)


def as_maps(features: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Run timm's features, and bring their maps into the order (N, C, H, W).

    Args:
        features: What timm makes of a network with ``features_only``.
        x: Images of shape (N, 3, H, W).

    Returns:
        One map per output.

    Example:
        >>> import timm, torch
        >>> swin = timm.create_model('swin_tiny_patch4_window7_224', features_only=True).eval()
        >>> [map_.shape[1] for map_ in as_maps(swin, torch.rand(1, 3, 224, 224))]
        [96, 192, 384, 768]
    """
    maps = features(x)
    # timm converts the maps of networks that have a method for it, and only says how the others are.
    if getattr(features, 'output_fmt', Format.NCHW) == Format.NHWC:
        maps = [map_.permute(0, 3, 1, 2).contiguous() for map_ in maps]
    return tuple(maps)


def feature_key(key: str, features: nn.Module) -> str:
    """The name that an entry of a complete network has in timm's features of it.

    Args:
        key: The entry's name in the complete network.
        features: What timm makes of the network with ``features_only``.

    Returns:
        The name, which the features lack where they have no use for the entry.

    Example:
        >>> feature_key('stages.0.blocks.0.weight', build_on_meta('repvit_m1_1', dict(features_only=True)))
        'stages_0.blocks.0.weight'
    """
    if isinstance(features, FeatureGetterNet):
        return f'model.{key}'
    if isinstance(features, (FeatureDictNet, FeatureHookNet)):
        if 'body' in features:
            return f'body.{key}'
        # The modules of a sequence become the features' own, one level deep: stages.0 is stages_0.
        first, _, rest = key.partition('.')
        if first not in features:
            return f'{first}_{rest}'
    return key


def _build(arch: str, options: dict[str, Any]) -> tuple[dict[str, Any], nn.Module]:
    """Build the features for images of as many sizes as possible."""
    for tried in ({**options, **_ANY_SIZE}, options):
        try:
            return tried, build_on_meta(arch, tried)
        except (TypeError, AssertionError, RuntimeError, ValueError) as error:
            reason = error
    if 'img_size' in str(reason) and isinstance(reason, TypeError):
        raise ValueError(f'{arch!r} takes images of any size: leave img_size out') from None
    raise ValueError(f"timm can't build the feature maps of {arch!r}: {reason}") from reason


def _check_strides(arch: str, out_indices: Sequence[int], found: list[int]) -> None:
    missing = [4 * 2**index for index in out_indices if 4 * 2**index not in found]
    if not missing:
        return
    fitting = tuple(index for index, stride in enumerate(_STRIDES) if stride in found)
    advice = f'out_indices={fitting} takes what there is' if fitting else 'take another network'
    if found == [16]:
        advice += (
            ', for a neck that makes a pyramid of it, such as SimpleFPN of mmdet/projects/ViTDet; Feature2Pyramid of '
            'mmseg needs several maps of stride 16, which the complete ViTs of mmseg and mmpretrain give'
        )
    raise ValueError(
        f'out_indices={tuple(out_indices)} asks for feature maps at strides {_listed(4 * 2**i for i in out_indices)}, '
        f'but {arch!r} has them at {_listed(found)}: {advice}'
    )


def _own_size(features: nn.Module) -> tuple[int, int]:
    """The size of timm's images, in which strides fit where it is not fixed."""
    _, height, width = features.pretrained_cfg['input_size']
    if features.pretrained_cfg.get('fixed_input_size'):
        return height, width
    return -(-height // 32) * 32, -(-width // 32) * 32


def _compute_maps(arch: str, features: nn.Module, height: int, width: int) -> tuple[Tensor, ...]:
    """The maps of an image, checked."""
    try:
        with torch.enable_grad():
            maps = as_maps(features.eval().requires_grad_(), torch.empty(1, 3, height, width, device='meta'))
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"{arch!r} can't be a backbone for images of {height} × {width} pixels: {error}") from error
    said = [
        (1, channels, -(-height // stride), -(-width // stride))
        for channels, stride in zip(features.feature_info.channels(), features.feature_info.reduction(), strict=True)
    ]
    shapes = [tuple(map_.shape) for map_ in maps]
    if shapes != said:
        raise ValueError(
            f"{arch!r} can't be a backbone: of an image of {height} × {width} pixels it gives feature maps of shapes "
            f'{_listed(shapes)}, where strides and channels promise {_listed(said)}'
        )
    return maps


def _takes(features: nn.Module, height: int, width: int) -> bool:
    """Whether images of this size are taken."""
    try:
        with torch.no_grad():
            features(torch.empty(1, 3, height, width, device='meta'))
    except (AssertionError, RuntimeError):
        return False
    return True


def _parameters_behind(features: nn.Module, map_: Tensor) -> frozenset[str]:
    """The parameters that autograd finds behind a map."""
    names = {id(parameter): name for name, parameter in features.named_parameters()}
    found, seen, todo = set(), {None}, [map_.grad_fn]
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        todo += [other for other, _ in node.next_functions]
        if hasattr(node, 'variable'):
            found.add(names[id(node.variable)])
    return frozenset(found)


def _stages(behind: dict[int, frozenset[str]], first: str) -> tuple[frozenset[str] | None, ...]:
    """The stem, and what each of the four maps and those before it depend on; None of what is not there."""
    stages = [None]
    if 4 in behind:
        stem = frozenset(name for name in behind[4] if not name.startswith(first))
        stages = [stem if stem < behind[4] else None]
    for last in _STRIDES:
        before = [names for stride, names in behind.items() if stride <= last]
        stages.append(frozenset().union(*before) if last in behind else None)
    return tuple(stages)


def _listed(entries: Iterable[object]) -> str:
    return ', '.join(map(str, entries))
