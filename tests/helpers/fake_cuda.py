"""CUDA without a GPU: tensors that have a device, type, shape and strides, but no values."""

import copy
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

# Below, fake tensors on CUDA need a GPU.
needs_fake_cuda = pytest.mark.skipif(
    torch.__version__ < '2.6', reason=f'torch {torch.__version__} has no fake CUDA tensors without a GPU, 2.6 has'
)


def to_fake_cuda(model: nn.Module, mode: FakeTensorMode, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A copy of a model, channels_last, on a GPU that does not exist."""
    model = copy.deepcopy(model).to(dtype, memory_format=torch.channels_last)
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    fake = mode.from_tensor(tensor.detach())
                    with mode:
                        fake = fake.to('cuda')
                    tensors[name] = nn.Parameter(fake, False) if tensors is module._parameters else fake
    return model


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
