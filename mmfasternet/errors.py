"""Mistakes of a user, which end in one sentence that says what to do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['MissingOpsError', 'UserError', 'one_sentence_errors', 'require_ops']


class UserError(ValueError):
    """Something the user gave is wrong; the message says what, what was expected, and what to do."""


class MissingOpsError(UserError):
    """mmcv is there without its compiled ops."""


def require_ops() -> None:
    """Make sure that mmcv has its compiled ops, which every detector needs.

    Raises:
        MissingOpsError: If it has not, as with mmcv-lite.

    Example:
        >>> require_ops()
    """
    try:
        import mmcv._ext  # noqa: F401
    except ImportError as error:
        raise MissingOpsError(
            f"mmcv's compiled ops are missing ({error}), and detectors need them (RoIAlign, NMS). The backbone alone "
            'works without. Set up a whole environment with `make env`, or replace mmcv-lite: '
            'pip uninstall mmcv-lite onedl-mmcv-lite; pip install onedl-mmcv (or mmcv), of the version that '
            'requirements/ names, which is compiled for the installed torch.'
        ) from error


@contextmanager
def one_sentence_errors() -> Iterator[None]:
    """End a command with the sentence of a :class:`UserError` and exit status 1, without a traceback.

    Example:
        >>> with one_sentence_errors():
        ...     pass
    """
    try:
        yield
    except UserError as error:
        sys.exit(f'error: {error}')
