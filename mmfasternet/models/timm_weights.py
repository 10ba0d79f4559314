"""From timm's file of a complete network into the features of it: completely, or not at all."""

import sys
from pathlib import Path
from typing import Any

import timm
from torch import nn

from mmfasternet.weights.download import without_secrets
from mmfasternet.weights.reader import read_checkpoint
from mmfasternet.weights.state_dict import StateDict, load_exactly, strip_prefix, unwrap

from .timm_network import build_on_meta, feature_key

__all__ = ['load_features']

# The functions of timm's modules that convert other files of their networks: the authors', or for another size.
_FILTERS = ('checkpoint_filter_fn', '_filter_fn', '_filter_torchvision_pretrained')


def load_features(
    features: nn.Module,
    arch: str,
    img_size: tuple[int, int] | None,
    behind: frozenset[str],
    checkpoint: str | Path,
    trust: bool = False,
) -> None:
    """Load all of a file but the classifier and the stages that are not built.

    A file that does not fit as it is goes through timm's own conversion first, which knows the authors' names and
    resizes what depends on the size of images.

    Args:
        features: What timm makes of the network with ``features_only``.
        arch: timm's name of the network.
        img_size: Height and width that it was built for. None means those of timm.
        behind: Parameters that a feature map depends on; others, which timm cuts to size, keep their values.
        checkpoint: Path, URL or name of timm's file of the complete network.
        trust: As in :func:`~mmfasternet.weights.read_checkpoint`. Defaults to False.

    Raises:
        CheckpointError: If the file can't be read, is refused, or does not fit the network.

    Example:
        >>> import timm, torch
        >>> network = timm.create_model('test_resnet')
        >>> torch.save(network.state_dict(), 'test_resnet.pth')
        >>> features = timm.create_model('test_resnet', features_only=True)
        >>> behind = frozenset(features.state_dict())
        >>> load_features(features, 'test_resnet', None, behind, 'test_resnet.pth')
        >>> torch.equal(features.conv1[0].weight, network.conv1[0].weight)
        True
    """
    source = without_secrets(checkpoint)
    found = unwrap(read_checkpoint(checkpoint, trust=trust), source)
    found = strip_prefix(found, 'module.') or found
    complete = build_on_meta(arch, {} if img_size is None else dict(img_size=img_size))
    idle = {name: value.data for name, value in features.named_parameters() if name not in behind}
    own = {key: value for key, value in features.state_dict().items() if key not in idle}
    keys = {key: feature_key(key, features) for key in complete.state_dict()}
    needed = {key: own[renamed].shape for key, renamed in keys.items() if renamed in own}
    fits = all(key in found and found[key].shape == shape for key, shape in needed.items())
    if not fits or not keys.keys() >= found.keys():
        found = _converted(found, arch, complete)
    classifier = _classifier(complete)
    # What neither the network nor its classifier has is kept, and refused.
    taken = {
        keys.get(key, key): value
        for key, value in found.items()
        if key in needed or not (key in keys or key.startswith(classifier))
    }
    load_exactly(features, {**idle, **taken}, source, f"timm's {arch}")


def _converted(found: StateDict, arch: str, complete: nn.Module) -> StateDict:
    """What timm makes of a file, or the file as it is where timm can't read it either."""
    module = sys.modules[timm.model_entrypoint(arch).__module__]
    convert = next((getattr(module, name) for name in _FILTERS if hasattr(module, name)), None)
    if convert is None:
        return found
    try:
        converted: Any = _call(convert, dict(found), complete)
    except Exception:  # of a file of another network, any; what does not fit is said below
        return found
    return converted if isinstance(converted, dict) else found


def _call(convert: Any, found: StateDict, complete: nn.Module) -> Any:
    # Those that take the names alone have one argument.
    return convert(found, complete) if convert.__code__.co_argcount > 1 else convert(found)


def _classifier(complete: nn.Module) -> tuple[str, ...]:
    """How the names of the classifier's entries start."""
    names = complete.pretrained_cfg.get('classifier') or ()
    return tuple(f'{name}.' for name in ([names] if isinstance(names, str) else names))
