"""A user's mistakes: each ends in one message that says what is wrong, what was expected, and what to do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['MissingOpsError', 'UserError', 'exit_on_user_error', 'require_ops']


class UserError(ValueError):
    """Something the user gave is wrong; the message says what, what was expected, and what to do."""


class MissingOpsError(UserError):
    """mmcv is installed without its compiled ops."""


def require_ops() -> None:
    """Make sure that mmcv has its compiled ops, which every detector needs.

    Raises:
        MissingOpsError: If they are missing, as in mmcv-lite.

    Example:
        >>> require_ops()
    """
    try:
        import mmcv._ext  # noqa: F401
    except ImportError as error:
        raise MissingOpsError(
            f"mmcv's compiled ops are missing ({error}), and detectors need them (RoIAlign, NMS). The backbone alone "
            'works without them. Set up a complete environment with `make env`, or replace mmcv-lite: '
            'pip uninstall mmcv-lite onedl-mmcv-lite; pip install onedl-mmcv (or mmcv), in the version that '
            'requirements/ names, compiled for the installed torch.'
        ) from error


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
        sys.exit(f'error: {error}')
