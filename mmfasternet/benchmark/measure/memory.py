"""Memory and peaks: keep freed memory, count what a forward pass holds, measure the machine's limits."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from mmfasternet.deploy.packed import PackedConv

from .gpu import is_gpu, stream_times
from .precision import PRECISIONS, in_precision
from .turns import timed_runs

__all__ = ['bandwidth_gb_s', 'keep_memory', 'live_bytes', 'peak_gmacs']

# Two settings of glibc's mallopt: number and default.
_TRIM_THRESHOLD, _MMAP_MAX = (-1, 128 * 1024), (-4, 65536)
# Elements of each tensor of the triad: 128 MiB, far more than a cache holds.
_TRIAD = 2**25
# Rows and columns of the matrices.
_PEAK_SIZE = 2048
# Seconds that a peak of a GPU is measured for.
_PEAK_S = 0.2
# Rows and columns on a GPU.
_GPU_PEAK_SIZE = 8192


@contextmanager
def keep_memory() -> Iterator[None]:
    """Let the allocator keep what is freed, so that operators are measured, and not the kernel that clears pages.

    glibc returns large feature maps to the kernel after each use, and the kernel clears their pages when they are next
    requested. On two cores, ten depthwise convolutions of 32 maps of 96 × 56² took 299 ms that way, and 65 ms with
    memory kept. Does nothing with another C library. Afterwards the limits are glibc's defaults, which it no longer
    adapts by itself.

    Example:
        >>> with keep_memory():
        ...     torch.rand(2, 3).shape
        torch.Size([2, 3])
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_MAX[0], 0)
    mallopt(_TRIM_THRESHOLD[0], 2**31 - 1)
    try:
        yield
    finally:
        mallopt(*_MMAP_MAX)
        mallopt(*_TRIM_THRESHOLD)


def live_bytes(model: nn.Module, image: Tensor) -> int:
    """Bytes that are held between the forward and the backward pass, outputs included, parameters not.

    Args:
        model: A backbone in training mode.
        image: Of shape (N, 3, H, W).

    Returns:
        The sum of the sizes of what the forward pass made and did not release.

    Example:
        >>> live_bytes(nn.Sequential(nn.ReLU()), torch.rand(1, 3, 8, 8)) == 4 * 3 * 8 * 8
        True
    """
    with _Storages() as storages:
        outs = model(image)
        held = storages.live_bytes()
    del outs
    return held


@torch.inference_mode()
def peak_gmacs(device: str = 'cpu', precision: str = 'fp32') -> float:
    """G multiply-adds per second of the fastest product of large matrices.

    On the CPU, in fp32, it is the faster of torch's and oneDNN's product of 2048 × 2048 matrices; on a GPU torch's of
    8192 × 8192.

    Args:
        device: 'cpu' or a GPU. Defaults to 'cpu'.
        precision: One of ``PRECISIONS``. Defaults to 'fp32'.

    Returns:
        The peak in GMAC/s.

    Raises:
        LackingError: If the device lacks the precision.

    Example:
        >>> peak_gmacs() > 0
        True
    """
    size = _GPU_PEAK_SIZE if is_gpu(device) else _PEAK_SIZE
    a, b = (torch.rand(size, size, device=device, dtype=PRECISIONS[precision]) for _ in range(2))
    products = [lambda: a @ b]
    if device == 'cpu' and precision == 'fp32':
        packed = PackedConv(nn.Conv2d(size, size, 1, bias=False).requires_grad_(False))
        pixels = torch.rand(1, 1, size, size).permute(0, 3, 1, 2)
        products.append(lambda: packed(pixels))
    with in_precision(precision, device, weights='cast'):
        return size**3 / min(_shortest(product, device) for product in products) / 1e9


@torch.inference_mode()
def bandwidth_gb_s(device: str) -> float:
    """GB per second of memory, by the triad of STREAM: c = a + s·b over tensors of 128 MiB.

    Each element counts as two reads and one write of four bytes, although a CPU also reads what it will overwrite.

    Args:
        device: 'cpu' or a GPU.

    Returns:
        The bandwidth, 10⁹ bytes per second.

    Example:
        >>> bandwidth_gb_s('cpu') > 0
        True
    """
    a, b, c = (torch.rand(_TRIAD, device=device) for _ in range(3))
    return 3 * 4 * _TRIAD / _shortest(lambda: torch.add(a, b, alpha=3.0, out=c), device) / 1e9


class _Storages(TorchDispatchMode):
    """Keeps track of the memory of every tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_flatten(out)[0]:
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                self.made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        return out

    def live_bytes(self) -> int:
        return sum(size for reference, size in self.made.values() if not reference.expired())


def _shortest(function: Callable[[], Any], device: str) -> float:
    """Seconds of the fastest of some calls, after one to warm up."""
    if is_gpu(device):
        # In a row: waiting for each would add a tenth to what one takes.
        return min(stream_times(function, device, _PEAK_S)) / 1000
    return min(timed_runs(function, device, 0, 4)[0][1:])
