"""What a record must not tell others: passwords, signatures of URLs, and whose home folder something lies in."""

import contextlib
import os
import pwd
import re
from pathlib import Path
from typing import Any

__all__ = ['without_secrets']

_URL = re.compile(r'\b([A-Za-z][A-Za-z0-9+.-]*://)([^\s\'"<>]+)')
_SECRET = re.compile(r'(?i)\b([\w.-]*(?:token|password|passwd|secret|api[_-]?key|access[_-]?key))(=|\s+)([^\s,;\'"]+)')
_HOMES = r'/home/[^/\s:\'"]+|/Users/[^/\s:\'"]+|/root'


def without_secrets(value: Any) -> Any:
    """The same without credentials and queries of URLs, values of tokens and passwords, and home folders.

    Args:
        value: A text, or dicts, lists and tuples of texts and of anything else.

    Returns:
        A copy with its texts changed: a URL has neither user nor query, a home folder is '~'.

    Example:
        >>> without_secrets(['s=https://me:word@host/x.pth?Signature=abc', '/home/me/data', 'hub.token=abc'])
        ['s=https://host/x.pth', '~/data', 'hub.token=…']
    """
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(without_secrets(item) for item in value)
    if not isinstance(value, str):
        return value
    text = _SECRET.sub(r'\1\2…', _URL.sub(_public, value))
    # A folder ends where a name ends: /home/me is none of /home/me2.
    return re.sub(rf'(?<![\w.~/-])(?:{"|".join([*_own_homes(), _HOMES])})(?![\w.-])', '~', text)


def _public(url: re.Match) -> str:
    """Scheme, host and path of a URL; a host that can't be one is part of a password."""
    host, path = re.fullmatch(r'([^/?#]*)([^?#]*).*', url[2], re.DOTALL).groups()
    host = host.rpartition('@')[2]
    if not re.fullmatch(r'(\[[0-9A-Fa-f:.]*\]|[^:\[\]]*)(:\d*)?', host):
        return f'{url[1]}…'
    return f'{url[1]}{host}{path}'


def _own_homes() -> list[str]:
    """The home of this user, as the environment and as the system says; '/' is none."""
    homes = [os.environ.get('HOME', '')]
    with contextlib.suppress(KeyError):  # a user that the system does not know, as in some containers
        homes.append(pwd.getpwuid(os.getuid()).pw_dir)
    return [re.escape(home.rstrip('/')) for home in homes if Path(home).is_absolute() and home.strip('/')]
