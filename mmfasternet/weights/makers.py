"""What a checkpoint's pickle may call and set: the few functions that write plain records, tensors and arrays.

None of them is called. A description of what it would make, with checked arguments, stands in its place.
"""

import _compat_pickle
import inspect
import math
import pickle
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch

from .saved import (
    Budget,
    RefusedObject,
    SavedArray,
    SavedBuffer,
    SavedCall,
    SavedDtype,
    SavedName,
    SavedScalar,
    SavedStorage,
    SavedTensor,
    printable,
)

__all__ = ['check_keys', 'fill', 'kind_of', 'make', 'make_storage', 'resolve']

# Comparing long keys that are equal takes time for each of them.
_LONGEST_KEY = 10_000

# Name → what describes a call of it, and the arguments of that.
_MAKERS: dict[str, tuple[Callable[..., Any], inspect.Signature]] = {}


def _makes(*names: str) -> Callable[[Callable], Callable]:
    """Enter a function as what is made for calls of these names."""

    def enter(maker: Callable) -> Callable:
        _MAKERS.update(dict.fromkeys(names, (maker, inspect.signature(maker))))
        return maker

    return enter


def _require(condition: bool, asked: str) -> None:
    if not condition:
        raise RefusedObject(f'an unusual {asked}')


def _is_count(value: Any) -> bool:
    """Whether a value is an integer that torch and numpy can count with."""
    return type(value) is int and 0 <= value < 2**63


def _are_counts(values: Any) -> bool:
    return type(values) is tuple and len(values) <= 64 and all(map(_is_count, values))


def _is_key(key: Any) -> bool:
    """Whether a value may be a key or a member of a set: hashing tuples and huge integers can be made slow."""
    if type(key) in (str, bytes):
        return len(key) <= _LONGEST_KEY
    return key is None or type(key) in (bool, float) or (type(key) is int and -(2**63) <= key < 2**63)


def check_keys(keys: Iterable[Any]) -> None:
    """Check what is about to become keys of a dict or members of a set.

    Args:
        keys: Text, bytes, numbers, or None.

    Raises:
        RefusedObject: If one is anything else.

    Example:
        >>> check_keys([('a',)])
        Traceback (most recent call last):
        mmfasternet.weights.saved.RefusedObject: a key or member of a set that is a tuple
    """
    for key in keys:
        if not _is_key(key):
            raise RefusedObject(f'a key or member of a set that is {kind_of(key)}')


def kind_of(value: Any) -> str:
    """Name a value in a message, never what it holds.

    Args:
        value: The value, or a description.

    Returns:
        Its name, its text, or its type.

    Example:
        >>> kind_of(SavedName('builtins.eval')), kind_of('O8'), kind_of([1])
        ('builtins.eval', "'O8'", 'a list')
    """
    if type(value) is SavedName:
        return printable(value.name)
    if type(value) is str:
        return f"'{printable(value, 30)}'"
    return f'a {type(value).__name__}'


@_makes('collections.OrderedDict')
def _ordered_dict(budget: Budget, pairs: Any = ()) -> OrderedDict:
    _require(
        type(pairs) in (list, tuple) and all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs),
        'collections.OrderedDict',
    )
    budget.spend(objects=len(pairs))
    check_keys(key for key, _ in pairs)
    return OrderedDict(pairs)


@_makes('collections.Counter')
def _counter(budget: Budget, counts: Any = ()) -> Counter:
    _require(counts == () or type(counts) is dict, 'collections.Counter')
    budget.spend(objects=len(counts))
    made = Counter()
    dict.update(made, counts)
    return made


@_makes('builtins.set')
def _set(budget: Budget, members: Any = ()) -> set:
    _require(type(members) in (list, tuple), 'builtins.set')
    budget.spend(objects=len(members))
    check_keys(members)
    return set(members)


@_makes('builtins.bytes')
def _bytes(_: Budget) -> bytes:
    return b''


@_makes('_codecs.encode')
def _encode(budget: Budget, text: Any, encoding: Any) -> bytes:
    # Protocol 2 writes bytes as text.
    _require(type(text) is str and encoding == 'latin1', '_codecs.encode')
    budget.spend(size=len(text))
    return text.encode('latin1')


@_makes('torch.Size')
def _size(_: Budget, sizes: Any = ()) -> SavedCall:
    _require(_are_counts(sizes), 'torch.Size')
    return SavedCall('torch.Size', (sizes,))


@_makes('torch.device')
def _device(_: Budget, kind: Any, *index: Any) -> SavedCall:
    _require(type(kind) is str and len(kind) < 30 and len(index) < 2 and all(map(_is_count, index)), 'torch.device')
    return SavedCall('torch.device', (kind, *index))


@_makes('builtins.slice')
def _slice(_: Budget, *bounds: Any) -> SavedCall:
    _require(len(bounds) == 3 and all(bound is None or type(bound) is int for bound in bounds), 'builtins.slice')
    return SavedCall('builtins.slice', bounds)


def _check_hooks(hooks: Any) -> None:
    """Of the hooks that a tensor calls in training a file may have none."""
    if hooks is not None and not (type(hooks) is OrderedDict and not hooks):
        raise RefusedObject('hooks of a tensor')


@_makes('torch._utils._rebuild_tensor')
def _tensor(_: Budget, storage: Any, offset: Any, size: Any, stride: Any) -> SavedTensor:
    if not (
        type(storage) is SavedStorage
        and _is_count(offset)
        and _are_counts(size)
        and _are_counts(stride)
        and len(size) == len(stride)
    ):
        raise pickle.UnpicklingError('a tensor has no valid storage, offset, size and strides')
    elements = math.prod(size)
    last = offset + (sum((s - 1) * t for s, t in zip(size, stride, strict=True)) if elements else -1)
    # More elements than the storage has, by strides of zero, would grow without bounds when they are copied.
    if last >= storage.elements or elements > storage.elements:
        raise pickle.UnpicklingError(f'a tensor of {elements} elements does not fit its storage of {storage.elements}')
    return SavedTensor(storage, offset, size, stride, requires_grad=False)


@_makes('torch._utils._rebuild_tensor_v2')
def _tensor_v2(
    budget: Budget,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    metadata: Any = None,
) -> SavedTensor:
    _check_hooks(hooks)
    made = _tensor(budget, storage, offset, size, stride)
    _check_grad(made, requires_grad)
    _require(metadata is None or (type(metadata) is dict and not metadata), 'torch._utils._rebuild_tensor_v2')
    made.requires_grad = requires_grad
    return made


@_makes('torch._utils._rebuild_parameter')
def _parameter(budget: Budget, data: Any, requires_grad: Any, hooks: Any) -> SavedTensor:
    _check_hooks(hooks)
    if type(data) is not SavedTensor:
        raise pickle.UnpicklingError('a parameter has no tensor')
    made = _tensor(budget, data.storage, data.offset, data.size, data.stride)
    _check_grad(made, requires_grad)
    made.requires_grad, made.is_parameter = requires_grad, True
    return made


def _check_grad(made: SavedTensor, requires_grad: Any) -> None:
    dtype = made.storage.dtype
    if type(requires_grad) is not bool or (requires_grad and not (dtype.is_floating_point or dtype.is_complex)):
        raise pickle.UnpicklingError(f'a tensor of {dtype} requires gradients')


@_makes('numpy.dtype')
def _dtype(_: Budget, code: Any, *_flags: Any) -> SavedDtype:
    # Arrays of objects or records would hold pointers that the file chooses.
    if type(code) is not str or not re.fullmatch(r'[biufcSU][1-9][0-9]{0,8}', code):
        raise RefusedObject(f'numpy.dtype({kind_of(code)})')
    return SavedDtype(code)


@_makes('numpy.core.multiarray.scalar', 'numpy._core.multiarray.scalar')
def _scalar(budget: Budget, dtype: Any, content: Any) -> SavedScalar:
    if type(dtype) is not SavedDtype or type(content) is not bytes or len(content) != dtype.itemsize:
        raise pickle.UnpicklingError('a numpy scalar has not the size of its dtype')
    budget.spend(size=len(content))
    return SavedScalar(dtype, content)


@_makes('numpy.core.multiarray._reconstruct', 'numpy._core.multiarray._reconstruct')
def _empty_array(_: Budget, kind: Any, shape: Any, code: Any) -> SavedArray:
    is_plain = type(kind) is SavedName and kind.name == 'numpy.ndarray'
    _require(is_plain and shape == (0,) and code in (b'b', 'b'), 'numpy array')
    return SavedArray()


@_makes('numpy.core.numeric._frombuffer', 'numpy._core.numeric._frombuffer')
def _array_of_protocol_5(
    budget: Budget, content: Any, dtype: Any, shape: Any, order: Any, axis_order: None = None
) -> SavedArray:
    _require(order in ('C', 'F') and axis_order is None, 'numpy array')
    made = SavedArray()
    _fill_array(budget, made, (1, shape, dtype, order == 'F', content))
    return made


@_makes('mmengine.logging.history_buffer.HistoryBuffer')
def _buffer(_: Budget) -> SavedBuffer:
    return SavedBuffer()


_BUFFER = 'mmengine.logging.history_buffer.HistoryBuffer'
_STATISTICS = ('min', 'max', 'mean', 'current')


@_makes('builtins.getattr')
def _statistic(_: Budget, owner: Any, name: Any) -> SavedName:
    """``getattr``, for what mmengine's checkpoints use it: to name the statistics of a ``HistoryBuffer``."""
    if not (type(owner) is SavedName and owner.name == _BUFFER and name in _STATISTICS):
        raise RefusedObject(f'builtins.getattr({kind_of(owner)}, {kind_of(name)})')
    return SavedName(f'{_BUFFER}.{name}')


_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
_STORAGES = {
    f'{module}.{name}': dtype
    for module in ('torch', 'torch.cuda')
    for name, dtype in {
        'DoubleStorage': torch.float64,
        'FloatStorage': torch.float32,
        'HalfStorage': torch.float16,
        'BFloat16Storage': torch.bfloat16,
        'LongStorage': torch.int64,
        'IntStorage': torch.int32,
        'ShortStorage': torch.int16,
        'CharStorage': torch.int8,
        'ByteStorage': torch.uint8,
        'BoolStorage': torch.bool,
        'ComplexFloatStorage': torch.complex64,
        'ComplexDoubleStorage': torch.complex128,
    }.items()
}
# Named, but never called.
_NAMES = {'numpy.ndarray', *_STORAGES, *(f'{_BUFFER}.{name}' for name in _STATISTICS)}


# The states that descriptions, and the metadata of a state dict, are given: once each.


def _fill_dtype(_: Budget, made: SavedDtype, state: Any) -> None:
    is_usual = (
        made.order is None
        and type(state) is tuple
        and len(state) == 8
        and state[0] == 3
        and state[1] in ('<', '>', '|', '=')
        and state[2:5] == (None, None, None)
        and all(type(number) is int for number in state[5:])
    )
    _require(is_usual, 'state of numpy.dtype')
    made.order = state[1]


def _fill_array(budget: Budget, made: SavedArray, state: Any) -> None:
    _require(made.dtype is None and type(state) is tuple and len(state) == 5, 'state of a numpy array')
    version, shape, dtype, is_fortran, content = state
    is_usual = version == 1 and type(dtype) is SavedDtype and type(content) in (bytes, bytearray)
    _require(is_usual and type(is_fortran) is bool, 'state of a numpy array')
    if not _are_counts(shape) or math.prod(shape) * dtype.itemsize != len(content):
        raise pickle.UnpicklingError('a numpy array has not the size of its shape')
    budget.spend(size=len(content))
    made.dtype, made.shape, made.is_fortran, made.content = dtype, shape, is_fortran, content


def _fill_buffer(_: Budget, made: SavedBuffer, state: Any) -> None:
    _require(made.log_history is None and type(state) is dict, 'state of HistoryBuffer')
    statistics = state.get('statistics_methods', {})
    is_usual = (
        {'max_length', '_log_history', '_count_history'} == state.keys() - {'statistics_methods'}
        and type(statistics) is dict
        and all(type(value) is SavedName and value.name == f'{_BUFFER}.{key}' for key, value in statistics.items())
        and type(state['_log_history']) is type(state['_count_history']) is SavedArray
        and _is_count(state['max_length'])
    )
    _require(is_usual, 'state of HistoryBuffer')
    made.log_history, made.count_history = state['_log_history'], state['_count_history']
    made.max_length = state['max_length']


def _fill_ordered_dict(_: Budget, made: OrderedDict, state: Any) -> None:
    _require(not vars(made) and type(state) is dict and state.keys() == {'_metadata'}, 'state of OrderedDict')
    _require(type(state['_metadata']) in (dict, OrderedDict), 'state of OrderedDict')
    made._metadata = state['_metadata']


_FILLERS = {
    SavedDtype: _fill_dtype,
    SavedArray: _fill_array,
    SavedBuffer: _fill_buffer,
    OrderedDict: _fill_ordered_dict,
}


def resolve(module: str, name: str) -> torch.dtype | SavedName:
    """Look up a name that a pickle refers to.

    Args:
        module: Its module, also under the name of Python 2.
        name: The rest.

    Returns:
        A dtype of torch, or a description of the name, never what it stands for.

    Raises:
        RefusedObject: If plain records, tensors and arrays do not need it.

    Example:
        >>> resolve('torch', 'Size')
        SavedName(name='torch.Size')
        >>> resolve('os', 'system')
        Traceback (most recent call last):
        mmfasternet.weights.saved.RefusedObject: os.system
    """
    full = f'{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}'
    if full in _DTYPES:
        return _DTYPES[full]
    if full in _MAKERS or full in _NAMES:
        return SavedName(full)
    raise RefusedObject(printable(full))


def make(called: Any, arguments: Any, budget: Budget) -> Any:
    """Describe what a call would return.

    Args:
        called: What :func:`resolve` returned, if the pickle is a usual one.
        arguments: Tuple of records and descriptions.
        budget: Of the pickle.

    Returns:
        A plain record, or a description.

    Raises:
        RefusedObject: If the call is not one of those that write plain records, tensors and arrays.
        pickle.UnpicklingError: If a tensor or an array does not have the size that it should have.

    Example:
        >>> make(resolve('torch', 'Size'), ((2, 3),), Budget(9))
        SavedCall(name='torch.Size', arguments=((2, 3),))
    """
    if type(called) is not SavedName or called.name not in _MAKERS or type(arguments) is not tuple:
        raise RefusedObject(f'a call of {kind_of(called)}')
    maker, signature = _MAKERS[called.name]
    try:
        signature.bind(budget, *arguments)
    except TypeError:
        raise RefusedObject(f'an unusual call of {called.name}') from None
    return maker(budget, *arguments)


def make_storage(asked: Any) -> SavedStorage:
    """Describe the storage that a pickle refers to.

    Args:
        asked: The reference, a tuple as torch writes it.

    Returns:
        The storage.

    Raises:
        RefusedObject: If it refers to anything else.
        pickle.UnpicklingError: If it is damaged.

    Example:
        >>> make_storage(('storage', resolve('torch', 'FloatStorage'), '0', 'cpu', 6)).elements
        6
    """
    # The older of torch's two forms has a sixth entry, which is None since torch 0.4.
    is_storage = type(asked) is tuple and len(asked) in (5, 6) and asked[0] == 'storage' and asked[5:] in ((), (None,))
    _require(is_storage, 'storage')
    _, kind, key, location, elements = asked[:5]
    _require(type(kind) is SavedName and kind.name in _STORAGES, 'storage')
    if not (type(key) is type(location) is str and _is_count(elements)):
        raise pickle.UnpicklingError('a storage has no valid key, device and number of elements')
    return SavedStorage(_STORAGES[kind.name], key, location, elements)


def fill(made: Any, state: Any, budget: Budget) -> None:
    """Complete a description, or the metadata of a state dict, once.

    Args:
        made: A description without a state, or an ``OrderedDict``.
        state: Its state, as the classes of torch, numpy and mmengine write it.
        budget: Of the pickle.

    Raises:
        RefusedObject: If it takes no state, has one, or the state is another.
        pickle.UnpicklingError: If an array does not have the size that it should have.

    Example:
        >>> array = SavedArray()
        >>> fill(array, (1, (2,), SavedDtype('i1'), False, b'ab'), Budget(9))
        >>> array.shape
        (2,)
    """
    if type(made) not in _FILLERS:
        raise RefusedObject(f'a state of {kind_of(made)}')
    _FILLERS[type(made)](budget, made, state)
