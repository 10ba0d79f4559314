"""A pickle module that builds what checkpoints are made of, and refuses everything else.

``torch.load(..., pickle_module=unpickler)`` behaves the same in every version of torch. ``weights_only=True`` has no
allowlist before torch 2.4, and OpenMMLab's checkpoints need one for numpy's scalars and mmengine's ``HistoryBuffer``.
"""

import _compat_pickle
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

__all__ = ['RefusedGlobal', 'Unpickler', 'load']


class RefusedGlobal(pickle.UnpicklingError):
    """A pickle asks for something that is not on the allowlist; the message names it."""


_STATISTICS = {name: getattr(HistoryBuffer, name) for name in ('min', 'max', 'mean', 'current')}


def _history_buffer_method(owner: type, name: str) -> Callable:
    """``getattr``, restricted to what mmengine's checkpoints use it for: the statistics of a ``HistoryBuffer``."""
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise RefusedGlobal(f'builtins.getattr({owner!r}, {name!r})')
    return _STATISTICS[name]


def _encode_latin1(text: str, encoding: str) -> bytes:
    """``codecs.encode``, restricted to what pickles of protocol 2 use it for: bytes written as text."""
    if encoding != 'latin1':
        raise RefusedGlobal(f'_codecs.encode(…, {encoding!r})')
    return text.encode(encoding)


def _plain_dtype(code: str, *_: Any) -> np.dtype:
    """``numpy.dtype`` of numbers and text: arrays of objects or records would hold pointers that the file chooses."""
    dtype = np.dtype(code, copy=True)
    if dtype.kind not in 'biufcSU':
        raise RefusedGlobal(f'numpy.dtype({code!r})')
    return dtype


def _empty_array(*_: Any) -> np.ndarray:
    """``numpy.core.multiarray._reconstruct``: an array that its state fills afterwards."""
    return np.empty(0)


def _may_build(made: Any, state: Any) -> bool:
    """Whether a pickle may set this state on an object; functions and classes take none."""
    if type(made) is np.ndarray:
        return True
    if isinstance(made, np.dtype):
        return state == made.newbyteorder(state[1]).__reduce__()[2]
    if not isinstance(state, dict):
        return False
    if type(made) is HistoryBuffer:
        methods = state.get('statistics_methods', {})
        known = {'max_length', '_log_history', '_count_history', 'statistics_methods'}
        return state.keys() <= known and methods.items() <= _STATISTICS.items()
    return type(made) is OrderedDict and state.keys() <= {'_metadata'}


_SCALAR = np.float64(0).__reduce__()[0]
_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}

# Dotted name → what it is read as. Nothing here runs code that the file chooses, or touches anything outside the file.
_ALLOWED = {
    'builtins.bytes': bytes,
    'builtins.set': set,
    'builtins.slice': slice,
    'builtins.getattr': _history_buffer_method,
    '_codecs.encode': _encode_latin1,
    'collections.Counter': Counter,
    'collections.OrderedDict': OrderedDict,
    'torch.Size': torch.Size,
    'torch.device': torch.device,
    'torch._utils._rebuild_tensor': torch._utils._rebuild_tensor,
    'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
    'torch._utils._rebuild_parameter': torch._utils._rebuild_parameter,
    **_DTYPES,
    # numpy 2 moved numpy.core to numpy._core; a file has the name in the numpy that wrote it.
    'numpy.core.multiarray.scalar': _SCALAR,
    'numpy._core.multiarray.scalar': _SCALAR,
    'numpy.core.multiarray._reconstruct': _empty_array,
    'numpy._core.multiarray._reconstruct': _empty_array,
    # Only an argument of _reconstruct. A call would read memory: ndarray(1, object, address).
    'numpy.ndarray': None,
    'numpy.dtype': _plain_dtype,
    'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
}


class Unpickler(pickle._Unpickler):
    """``pickle.Unpickler`` that creates only what is on the allowlist, and checks the state that an object is given.

    It derives from Python's implementation, because C's does not let a subclass change BUILD, which sets attributes.
    Its arguments are those of ``pickle.Unpickler``.

    Raises:
        RefusedGlobal: From ``load()``, if the pickle asks for anything else.

    Example:
        >>> import io
        >>> Unpickler(io.BytesIO(pickle.dumps([1, b'weights']))).load()
        [1, b'weights']
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        # Protocols below 3 write Python 2's names.
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        try:
            return _ALLOWED[f'{module}.{name}']
        except KeyError:
            raise RefusedGlobal(f'{module}.{name}') from None

    def load_build(self) -> None:
        made, state = self.stack[-2:]
        if not _may_build(made, state):
            raise RefusedGlobal(f'an unusual state of {getattr(made, "__qualname__", type(made).__qualname__)}')
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def load(file: BinaryIO, **kwargs: Any) -> Any:
    """Load a pickle through :class:`Unpickler`.

    Args:
        file: The pickle, open for reading bytes.
        **kwargs: Those of ``pickle.load``.

    Returns:
        The object.

    Raises:
        RefusedGlobal: If the pickle asks for anything that is not on the allowlist.

    Example:
        >>> import io
        >>> load(io.BytesIO(pickle.dumps(eval)))
        Traceback (most recent call last):
        mmfasternet.weights.unpickler.RefusedGlobal: builtins.eval
    """
    return Unpickler(file, **kwargs).load()
