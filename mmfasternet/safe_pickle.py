"""A pickle module that builds what checkpoints are made of, and refuses everything else.

``torch.load(..., pickle_module=safe_pickle)`` behaves the same on every torch: ``weights_only=True`` has no allowlist
before 2.4, and OpenMMLab's checkpoints need one for numpy's scalars and mmengine's ``HistoryBuffer``.
"""

import _compat_pickle
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

__all__ = ['RefusedGlobal', 'Unpickler', 'load']


class RefusedGlobal(pickle.UnpicklingError):
    """A pickle asks for an object that is not on the allowlist; the message is its dotted name."""


def history_buffer_method(owner: type, name: str) -> Callable:
    """``getattr`` for the one use that mmengine's checkpoints make of it: the statistics of a HistoryBuffer."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise RefusedGlobal(f'builtins.getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def encode_latin1(text: str, encoding: str) -> bytes:
    """``codecs.encode`` for the one use that pickles of protocol 2 make of it: bytes written as text."""
    if encoding != 'latin1':
        raise RefusedGlobal(f'_codecs.encode(…, {encoding!r})')
    return text.encode(encoding)


# numpy 1 and 2 keep these two functions in different places; asking an array and a scalar for them works in both.
RECONSTRUCT, SCALAR = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]
DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}

# Dotted name → what it stands for. Nothing here runs code of the file's choosing or touches anything outside of it.
ALLOWED = {
    'builtins.set': set,
    'builtins.slice': slice,
    'builtins.getattr': history_buffer_method,
    '_codecs.encode': encode_latin1,
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
    'numpy.core.multiarray._reconstruct': RECONSTRUCT,
    'numpy._core.multiarray._reconstruct': RECONSTRUCT,
    'numpy.ndarray': np.ndarray,
    'numpy.dtype': np.dtype,
    'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
}


class Unpickler(pickle.Unpickler):
    """``pickle.Unpickler`` whose globals are those of the allowlist."""

    def find_class(self, module: str, name: str) -> Any:
        # Protocols below 3 write Python 2's names.
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        try:
            return ALLOWED[f'{module}.{name}']
        except KeyError:
            raise RefusedGlobal(f'{module}.{name}') from None


def load(file: BinaryIO, **kwargs: Any) -> Any:
    """``pickle.load`` through the restricted Unpickler."""
    return Unpickler(file, **kwargs).load()
