"""Recomputation (``with_cp``): blocks that keep less for the backward pass, and compute it again there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial, wraps

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

__all__ = ['recomputable']


def recomputable(forward: Callable[[nn.Module, Tensor], Tensor]) -> Callable[[nn.Module, Tensor], Tensor]:
    """Make the forward of a FasterNet block follow the block's ``with_cp``: False, True or 'elementwise'."""

    @wraps(forward)
    def forward_with_cp(block: nn.Module, x: Tensor) -> Tensor:
        if not block.with_cp or not torch.is_grad_enabled() or torch.jit.is_tracing():
            return forward(block, x)
        if block.with_cp == 'elementwise':
            return _recompute_elementwise(block, x)
        return _recompute(block, partial(forward, block), x)

    return forward_with_cp


def _recompute_elementwise(block: nn.Module, x: Tensor) -> Tensor:
    """Recompute all but convolutions: one saves only its input, and recomputation stops as soon as that is known."""
    pconv = block.spatial_mixing
    expand, norm, activation, project = block.mlp
    convolved, passed = torch.split(x, [pconv.conv_channels, pconv.pass_channels], dim=1)
    convolved = pconv.partial_conv3(convolved)
    hidden = _recompute(block, lambda *parts: expand(torch.cat(parts, dim=1)), convolved, passed)
    out = _recompute(block, lambda hidden: project(activation(norm(hidden))), hidden)
    return block.add_to(x, out)


# torch.compile, which recomputes in its own way, does not support context_fn.
@torch.compiler.disable
def _recompute(block: nn.Module, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Call a function now, and once more in the backward pass, which BN must not count as a second batch."""
    return checkpoint(
        function, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _spare_bn_buffers(block))
    )


@contextmanager
def _spare_bn_buffers(module: nn.Module) -> Iterator[None]:
    """Let the BN layers of a module run without changing their running statistics."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    buffers = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, kept in zip(norms, buffers, strict=True):
        norm._buffers.update({name: buffer.clone() for name, buffer in kept.items()})
    try:
        yield
    finally:
        for norm, kept in zip(norms, buffers, strict=True):
            norm._buffers.update(kept)
