"""Configs as flat tables, and where two of them differ."""


def leaves(value, path=''):
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
            found |= leaves(item, f'{path}.{key}' if path else str(key))
    return found


def unlike(ours: dict, theirs: dict) -> set[str]:
    """The paths whose values differ, or that only one of two tables has."""
    return {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
