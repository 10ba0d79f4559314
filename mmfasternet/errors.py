"""A user's mistakes: each ends in one message that says what is wrong, what was expected, and what to do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['UserError', 'exit_on_user_error', 'printable']


class UserError(ValueError):
    """Something the user gave is wrong; the message says what, what was expected, and what to do."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """End a command that meets a :class:`UserError` with its message and exit status 1, without a traceback.

    Example:
        >>> with exit_on_user_error():
        ...     pass
    """
    try:
        yield
    except UserError as error:
        sys.exit('error: ' + printable(str(error)))


def printable(text: str) -> str:
    """Escape what could control a terminal, as names of files and what they hold may.

    Args:
        text: Any text.

    Returns:
        The text with its line ends, and all other characters that can't be printed as escapes.

    Example:
        >>> printable('a\\x1b[2K')
        'a\\\\x1b[2K'
    """
    return ''.join(c if c.isprintable() or c == '\n' else repr(c)[1:-1] for c in text)
