"""Descriptions of what a checkpoint holds beside plain records: inert, made of checked numbers, text and bytes."""

import pickle
from dataclasses import dataclass
from typing import Any

import torch

__all__ = [
    'Budget',
    'RefusedObject',
    'SavedArray',
    'SavedBuffer',
    'SavedCall',
    'SavedDtype',
    'SavedName',
    'SavedScalar',
    'SavedStorage',
    'SavedTensor',
    'printable',
]

# Thrice what the checkpoint of a detector with 10,000 tensors needs; they take seconds and some 200 MB at most.
_MOST_OBJECTS = 1_000_000


class RefusedObject(pickle.UnpicklingError):
    """A pickle asks for something other than weights and plain records; the message names it."""


@dataclass(eq=False, slots=True)
class SavedName:
    """A name that a pickle refers to. Never what the name stands for."""

    name: str


@dataclass(eq=False, slots=True)
class SavedStorage:
    """Where a tensor's elements are in the file: the dtype, the key, the device at the time, the number of elements."""

    dtype: torch.dtype
    key: str
    location: str
    elements: int


@dataclass(eq=False, slots=True)
class SavedTensor:
    """A tensor that lies within its storage; offset and strides are in elements."""

    storage: SavedStorage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool
    is_parameter: bool = False


@dataclass(eq=False, slots=True)
class SavedDtype:
    """A numpy dtype of numbers or text, such as 'f8', and its byte order once that is known."""

    code: str
    order: str | None = None

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return int(self.code[1:]) * (4 if self.code[0] == 'U' else 1)


@dataclass(eq=False, slots=True)
class SavedArray:
    """A numpy array; it has no dtype until the pickle has given its state."""

    dtype: SavedDtype | None = None
    shape: tuple[int, ...] = ()
    is_fortran: bool = False
    content: bytes | bytearray = b''


@dataclass(eq=False, slots=True)
class SavedScalar:
    """A numpy scalar."""

    dtype: SavedDtype
    content: bytes


@dataclass(eq=False, slots=True)
class SavedBuffer:
    """A ``HistoryBuffer`` of mmengine; it has no histories until the pickle has given its state."""

    log_history: SavedArray | None = None
    count_history: SavedArray | None = None
    max_length: int = 0


@dataclass(eq=False, slots=True)
class SavedCall:
    """A ``torch.Size``, ``torch.device`` or ``slice``, with its checked arguments."""

    name: str
    arguments: tuple


def printable(text: Any, most: int = 100) -> str:
    """Escape and cut a text of a file, so that a message can hold it: a terminal obeys what it is sent.

    Args:
        text: The text, or an error or a path; not a container, whose text can be larger than any memory.
        most: Characters after which it is cut. Defaults to 100.

    Returns:
        The text in ASCII.

    Example:
        >>> print(printable('weight' + chr(27) + '[2K'))
        weight\\x1b[2K
    """
    # Cut first: a text may be as large as the file.
    start = str(text)[: most + 1]
    shown = ascii(start)[1:-1]
    return shown if len(shown) <= most and len(start) <= most else f'{shown[:most]}...'


class Budget:
    """What a pickle may still cost to read: it can refer to a large part many times in few bytes.

    Args:
        size: Bytes of the pickle.

    Example:
        >>> Budget(4).spend(size=9)
        Traceback (most recent call last):
        _pickle.UnpicklingError: its arrays are larger than the file
    """

    def __init__(self, size: int) -> None:
        self._objects = 0
        # Bytes are written once as text and once in an array.
        self._size = 2 * size

    def spend(self, objects: int = 0, size: int = 0) -> None:
        """Count objects that are made, and bytes that are copied.

        Args:
            objects: Opcodes, or copied entries. Defaults to 0.
            size: Bytes. Defaults to 0.

        Raises:
            pickle.UnpicklingError: If there are too many.
        """
        self._objects += objects
        self._size -= size
        self.check(self._objects)
        if self._size < 0:
            raise pickle.UnpicklingError('its arrays are larger than the file')

    def check(self, objects: int) -> None:
        """Compare a number of objects to the most that there may be.

        Args:
            objects: The number.

        Raises:
            pickle.UnpicklingError: If it is larger.
        """
        if objects > _MOST_OBJECTS:
            raise pickle.UnpicklingError(f'it has more than {_MOST_OBJECTS:,} objects')
