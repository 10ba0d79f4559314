"""A program of ExecuTorch, run by its Python bindings; they need torch, unlike its libraries for phones."""

import threading
from pathlib import Path

import numpy as np

from mmfasternet.errors import UserError

try:
    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime
except ImportError as error:
    raise UserError(
        f'files of ExecuTorch need the package executorch ({error}): pip install mmfasternet[executorch]'
    ) from error

__all__ = ['ExecutorchNetwork']


class ExecutorchNetwork:
    """A program of ExecuTorch on the CPU, where XNNPACK computes. Several threads may run it at once.

    Args:
        path: The file, ``*.pte``.
        threads: Threads of a run, of all programs of this process. None means as many as ExecuTorch chooses. Defaults
            to None.

    Raises:
        UserError: If it can't be read.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        if threads:
            _unsafe_reset_threadpool(threads)
        self._path, self._methods = path, threading.local()
        try:
            self._method()
        except Exception as error:  # those of ExecuTorch are of no common class
            raise UserError(f'{path} cannot be read by ExecuTorch: {str(error).splitlines()[:1]}') from error

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Run the program on pixels, float32 (1, 3, H, W); gives its outputs (C, h, w)."""
        # ExecuTorch reads memory without looking at strides.
        image = torch.from_numpy(np.ascontiguousarray(pixels))
        return [output[0].numpy() for output in self._method().execute([image])]

    def _method(self) -> object:
        """The program's method; each thread has its own, which holds the memory of a run."""
        if not hasattr(self._methods, 'own'):
            # The program is kept too, whose memory the method reads.
            self._methods.program = Runtime.get().load_program(str(self._path))
            self._methods.own = self._methods.program.load_method('forward')
        return self._methods.own
