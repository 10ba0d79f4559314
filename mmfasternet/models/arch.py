"""What ``arch`` may be: the name of a variant, or a dict of its settings."""

from copy import deepcopy

from .arguments import as_integer, check_number
from .pconv import num_convolved

__all__ = ['MLP_RATIO', 'PARTIAL_RATIO', 'resolve_arch']

# The paper's: hidden channels of a block and convolved channels of a PConv, each per channel of the feature map.
MLP_RATIO = 2
PARTIAL_RATIO = 1 / 4

_REQUIRED = ('embed_dims', 'depths')
_DEFAULTS = dict(
    mlp_ratio=MLP_RATIO, partial_ratio=PARTIAL_RATIO, drop_path_rate=0.0, act_cfg=dict(type='ReLU', inplace=True)
)


def resolve_arch(arch: str | dict, arch_settings: dict[str, dict]) -> dict:
    """Complete and check the settings of an architecture.

    Args:
        arch: What the user gave, the name of a variant or a dict.
        arch_settings: Name of a variant → its settings.

    Returns:
        A new dict of ``embed_dims``, ``depths``, ``mlp_ratio``, ``partial_ratio``, ``drop_path_rate`` and ``act_cfg``.

    Raises:
        TypeError: If it is neither a name nor a dict, or a setting has the wrong type.
        ValueError: If there is no such variant, a key is missing or unknown, or a setting is out of its range.

    Example:
        >>> arch = resolve_arch(dict(embed_dims=32, depths=(1, 1, 2, 1)), {})
        >>> arch['mlp_ratio'], arch['partial_ratio']
        (2, 0.25)
    """
    choices, keys = ', '.join(arch_settings), (*_REQUIRED, *_DEFAULTS)
    if isinstance(arch, str):
        if arch.lower() not in arch_settings:
            raise ValueError(f'arch must be one of {choices}, or a dict with {keys}, but got {arch!r}')
        arch = arch_settings[arch.lower()]
    if not isinstance(arch, dict):
        raise TypeError(f'arch must be one of {choices}, or a dict with {keys}, but got {arch!r}')
    if not set(_REQUIRED) <= arch.keys() <= set(keys):
        raise ValueError(f'arch must have the keys {_REQUIRED} and may have {tuple(_DEFAULTS)}, but got {list(arch)}')

    settings = deepcopy({**_DEFAULTS, **arch})
    depths = settings['depths']
    if not isinstance(depths, (list, tuple)) or len(depths) != 4:
        raise ValueError(f'depths of arch must be four numbers of blocks, but got {depths!r}')
    settings['depths'] = tuple(as_integer('each of depths of arch', depth, 0) for depth in depths)
    settings['embed_dims'] = channels = as_integer('embed_dims of arch', settings['embed_dims'], 1)
    check_number('mlp_ratio of arch', settings['mlp_ratio'])
    if int(channels * settings['mlp_ratio']) < 1:
        raise ValueError(f'mlp_ratio of arch must leave at least one hidden channel, but got {settings["mlp_ratio"]}')
    check_number('partial_ratio of arch', settings['partial_ratio'])
    if abs(num_convolved(channels, settings['partial_ratio']) - channels * settings['partial_ratio']) > 1e-3:
        raise ValueError(
            f'partial_ratio of arch must give a whole number of channels, but {channels} · '
            f'{settings["partial_ratio"]:g} does not; change it or embed_dims'
        )
    return settings
