"""From the descriptions of a checkpoint to tensors, arrays and histories."""

import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

from .containers import Contents
from .saved import (
    RefusedObject,
    SavedArray,
    SavedBuffer,
    SavedCall,
    SavedDtype,
    SavedScalar,
    SavedStorage,
    SavedTensor,
)

__all__ = ['materialize', 'outline']

_CALLS = {'torch.Size': torch.Size, 'torch.device': torch.device, 'builtins.slice': slice}
_SCALARS = (type(None), bool, int, float, str, bytes, bytearray, set, torch.dtype)


def materialize(contents: Contents, map_location: Any = 'cpu') -> Any:
    """Make the tensors and arrays of a checkpoint, and put them where the descriptions are.

    Args:
        contents: What :func:`~mmfasternet.weights.containers.read_contents` returned, its file still open.
        map_location: Device of the tensors, or a function of a storage and the name of the device that it was saved
            from, which returns the storage to use, as in ``torch.load``. None is the CPU. Defaults to 'cpu'.

    Returns:
        What was saved. Tensors that shared a storage share one.

    Raises:
        RefusedObject: If a name stands where a value belongs.
        pickle.UnpicklingError: If a storage is damaged.

    Example:
        >>> from .containers import read_contents
        >>> torch.save(dict(weight=torch.ones(2)), 'example.pth')
        >>> with open('example.pth', 'rb') as file:
        ...     materialize(read_contents(file))
        {'weight': tensor([1., 1.])}
    """
    storages: dict[str, torch.UntypedStorage] = {}

    def make(saved: SavedTensor) -> Tensor:
        key = saved.storage.key
        if key not in storages:
            storages[key] = _place(_read(contents, saved.storage), saved.storage.location, map_location)
        storage = storages[key]
        tensor = torch.empty(0, dtype=saved.storage.dtype, device=storage.device)
        return tensor.set_(storage, saved.offset, saved.size, saved.stride)

    return _Maker(make).make(contents.tree)


def outline(contents: Contents) -> Any:
    """Make the records of a checkpoint without reading its tensors.

    Args:
        contents: What :func:`~mmfasternet.weights.containers.read_contents` returned.

    Returns:
        What was saved, with tensors on the meta device, which have a shape and a dtype but no elements.

    Raises:
        RefusedObject: If a name stands where a value belongs.

    Example:
        >>> from .containers import read_contents
        >>> torch.save(dict(weight=torch.ones(2)), 'example.pth')
        >>> with open('example.pth', 'rb') as file:
        ...     outline(read_contents(file))
        {'weight': tensor(..., device='meta', size=(2,))}
    """

    def make(saved: SavedTensor) -> Tensor:
        return torch.empty_strided(saved.size, saved.stride, dtype=saved.storage.dtype, device='meta')

    return _Maker(make).make(contents.tree)


def _read(contents: Contents, saved: SavedStorage) -> Tensor:
    """A storage's bytes."""
    try:
        content = torch.empty(saved.elements * saved.dtype.itemsize, dtype=torch.uint8)
    except RuntimeError as error:  # torch's word for it
        raise MemoryError from error
    contents.fill(saved, memoryview(content.numpy()))
    if saved.dtype is torch.bool:
        _check_truth(content.numpy())
    return content


def _check_truth(content: np.ndarray) -> None:
    """Refuse truth values that are neither 0 nor 1: code that counts them would count wrong, and write too far."""
    if content.size and content.max() > 1:
        raise pickle.UnpicklingError('a truth value is neither 0 nor 1')


def _place(content: Tensor, location: str, map_location: Any) -> torch.UntypedStorage:
    """The storage of some bytes, where the caller wants it."""
    if callable(map_location):
        storage = content.untyped_storage()
        placed = map_location(storage, location)
        return storage if placed is None else placed
    return content.to('cpu' if map_location is None else map_location).untyped_storage()


class _Maker:
    """Makes what is described, once for each description: what was shared is shared."""

    def __init__(self, make_tensor: Callable[[SavedTensor], Tensor]) -> None:
        self._make_tensor = make_tensor
        self._made: dict[int, Any] = {}

    def make(self, node: Any) -> Any:
        if type(node) in _SCALARS:
            return node
        if id(node) not in self._made:
            self._made[id(node)] = self._make_new(node)
        return self._made[id(node)]

    def _make_new(self, node: Any) -> Any:
        if type(node) in (list, tuple):
            return type(node)(self.make(part) for part in node)
        if type(node) in (dict, OrderedDict):
            made = type(node)((key, self.make(value)) for key, value in node.items())
            if type(node) is OrderedDict and vars(node):
                made._metadata = self.make(node._metadata)
            return made
        if type(node) is Counter:
            made = Counter()
            dict.update(made, {key: self.make(value) for key, value in node.items()})
            return made
        if type(node) is SavedTensor:
            tensor = self._make_tensor(node)
            if node.is_parameter:
                return nn.Parameter(tensor, node.requires_grad)
            return tensor.requires_grad_(node.requires_grad)
        if type(node) is SavedCall:
            return _CALLS[node.name](*node.arguments)
        if type(node) is SavedDtype:
            return _dtype(node)
        if type(node) is SavedScalar:
            return _array(SavedArray(node.dtype, (), False, node.content))[()]
        if type(node) is SavedArray and node.dtype is not None:
            return _array(node)
        if type(node) is SavedBuffer and node.log_history is not None:
            return _history(node)
        raise RefusedObject(f'{getattr(node, "name", "an unfinished object")} as a value')


def _dtype(saved: SavedDtype) -> np.dtype:
    return np.dtype(saved.code).newbyteorder(saved.order or '=')


def _array(saved: SavedArray) -> np.ndarray:
    """An array over a copy of its bytes."""
    order = 'F' if saved.is_fortran else 'C'
    if saved.dtype.code == 'b1':
        _check_truth(np.frombuffer(bytes(saved.content), np.uint8))
    return np.ndarray(saved.shape, _dtype(saved.dtype), bytes(saved.content), order=order).copy(order)


def _history(saved: SavedBuffer) -> HistoryBuffer:
    log, count = _array(saved.log_history), _array(saved.count_history)
    if log.ndim != 1 or log.shape != count.shape or log.dtype.kind not in 'biuf' or count.dtype.kind not in 'biuf':
        raise RefusedObject('an unusual HistoryBuffer')
    history = HistoryBuffer(max_length=saved.max_length)
    history._log_history, history._count_history = log, count
    return history
