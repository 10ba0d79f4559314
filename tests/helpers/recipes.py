"""Where two configs differ."""

from collections.abc import Iterable

from mmengine.config import Config


def differences(ours: Config, theirs: Config, keys: Iterable[str]) -> set[str]:
    """The dotted paths under these keys whose values differ, or that only one of two configs has."""
    a, b = (_leaves({key: cfg[key] for key in keys if key in cfg}) for cfg in (ours.to_dict(), theirs.to_dict()))
    return {path for path in a.keys() | b.keys() if a.get(path) != b.get(path)}


def _leaves(value: object, path: str = '') -> dict[str, object]:
    """Dotted path → value, without the zoo's own defaults that its configs write out."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)) and value:
        items = enumerate(value)
    else:
        return {path: value}
    found = {}
    for key, item in items:
        if key not in ('backend_args', 'format_only'):
            found |= _leaves(item, f'{path}.{key}' if path else str(key))
    return found
