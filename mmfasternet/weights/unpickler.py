"""A pickle module that builds what checkpoints are made of, and refuses everything else.

``torch.load(..., pickle_module=safe_pickle)`` behaves the same on every torch: ``weights_only=True`` has no allowlist
before 2.4, and OpenMMLab's checkpoints need one for numpy's scalars and mmengine's ``HistoryBuffer``.
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
    """A pickle asks for an object that is not on the allowlist; the message names it."""


STATISTICS = {name: getattr(HistoryBuffer, name) for name in ('min', 'max', 'mean', 'current')}


def history_buffer_method(owner: type, name: str) -> Callable:
    """``getattr`` for the one use that mmengine's checkpoints make of it: the statistics of a HistoryBuffer."""
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise RefusedGlobal(f'builtins.getattr({owner!r}, {name!r})')
    return STATISTICS[name]


def encode_latin1(text: str, encoding: str) -> bytes:
    """``codecs.encode`` for the one use that pickles of protocol 2 make of it: bytes written as text."""
    if encoding != 'latin1':
        raise RefusedGlobal(f'_codecs.encode(…, {encoding!r})')
    return text.encode(encoding)


def plain_dtype(code: str, *_: Any) -> np.dtype:
    """``numpy.dtype`` of numbers and text: arrays of objects or records would hold pointers of the file's choosing."""
    dtype = np.dtype(code, copy=True)
    if dtype.kind not in 'biufcSU':
        raise RefusedGlobal(f'numpy.dtype({code!r})')
    return dtype


def empty_array(*_: Any) -> np.ndarray:
    """``numpy.core.multiarray._reconstruct``: an array that its state then fills."""
    return np.empty(0)


def may_build(made: Any, state: Any) -> bool:
    """Whether a pickle may give an object this state: attributes of functions and classes are not its business."""
    if type(made) is np.ndarray:
        return True
    if isinstance(made, np.dtype):
        return state == made.newbyteorder(state[1]).__reduce__()[2]
    if not isinstance(state, dict):
        return False
    if type(made) is HistoryBuffer:
        methods = state.get('statistics_methods', {})
        known = {'max_length', '_log_history', '_count_history', 'statistics_methods'}
        return state.keys() <= known and methods.items() <= STATISTICS.items()
    return type(made) is OrderedDict and state.keys() <= {'_metadata'}


SCALAR = np.float64(0).__reduce__()[0]
DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}

# Dotted name → what it stands for. Nothing here runs code of the file's choosing or touches anything outside of it.
ALLOWED = {
    'builtins.bytes': bytes,
    'builtins.set': set,
    'builtins.slice': slice,
    'builtins.getattr': history_buffer_method,
    '_codecs.encode': encode_latin1,
    'collections.Counter': Counter,
    'collections.OrderedDict': OrderedDict,
    'torch.Size': torch.Size,
    'torch.device': torch.device,
    'torch._utils._rebuild_tensor': torch._utils._rebuild_tensor,
    'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
    'torch._utils._rebuild_parameter': torch._utils._rebuild_parameter,
    **DTYPES,
    # numpy 2 moved numpy.core to numpy._core; files carry the name of the numpy that wrote them.
    'numpy.core.multiarray.scalar': SCALAR,
    'numpy._core.multiarray.scalar': SCALAR,
    'numpy.core.multiarray._reconstruct': empty_array,
    'numpy._core.multiarray._reconstruct': empty_array,
    # Only ever an argument of _reconstruct. Called, it would read memory: ndarray(1, object, address).
    'numpy.ndarray': None,
    'numpy.dtype': plain_dtype,
    'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
}


class Unpickler(pickle._Unpickler):
    """``pickle.Unpickler`` whose globals are those of the allowlist, and whose states are checked.

    It stands on Python's implementation, since C's offers no say in what BUILD sets attributes of.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        # Protocols below 3 write Python 2's names.
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        try:
            return ALLOWED[f'{module}.{name}']
        except KeyError:
            raise RefusedGlobal(f'{module}.{name}') from None

    def load_build(self) -> None:
        made, state = self.stack[-2:]
        if not may_build(made, state):
            raise RefusedGlobal(f'a state of its own for {getattr(made, "__qualname__", type(made).__qualname__)}')
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def load(file: BinaryIO, **kwargs: Any) -> Any:
    """``pickle.load`` through the restricted Unpickler."""
    return Unpickler(file, **kwargs).load()
