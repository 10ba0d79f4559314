"""OpenVINO, of which a process opens one core. Nothing in this file imports torch."""

from functools import cache
from typing import Any

from mmfasternet.errors import UserError

__all__ = ['openvino_core']


@cache
def openvino_core() -> Any:
    """OpenVINO's ``Core``, one for the process.

    On CPUs with AMX, each gives the process a stack for its signals. Where several end, OpenVINO 2026.4 leaves one that
    is unmapped: the next signal, such as that of Ctrl-C or of a child that ends, is then a segmentation fault.

    Returns:
        The core.

    Raises:
        UserError: If OpenVINO is not installed.

    Example:
        >>> openvino_core().available_devices
        ['CPU'...]
    """
    try:
        import openvino
    except ImportError as error:
        raise UserError('OpenVINO is not installed: pip install openvino') from error
    return openvino.Core()
