"""Configs as flat tables, in which two recipes can be compared key by key."""


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
