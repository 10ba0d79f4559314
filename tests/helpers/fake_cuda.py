"""CUDA without a GPU: what tests of :func:`mmfasternet.benchmark.gpu.launches.to_fake_cuda` need besides."""

from contextlib import contextmanager

import pytest
import torch

# Below, fake tensors on CUDA need a GPU.
needs_fake_cuda = pytest.mark.skipif(
    torch.__version__ < '2.6', reason=f'torch {torch.__version__} has no fake CUDA tensors without a GPU, 2.6 has'
)


@contextmanager
def autocast_cuda(dtype: torch.dtype):
    """``torch.autocast('cuda', dtype)``, which turns itself off where there is no GPU."""
    torch.set_autocast_enabled('cuda', True)
    torch.set_autocast_dtype('cuda', dtype)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        torch.autocast_decrement_nesting()
        torch.clear_autocast_cache()
        torch.set_autocast_enabled('cuda', False)
