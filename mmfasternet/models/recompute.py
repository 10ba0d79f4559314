"""Recomputation (``with_cp``): blocks that keep less for the backward pass, and compute it again there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial, wraps

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

__all__ = ['recomputable', 'spare_bn_of']

_can_tell = hasattr(torch.compiler, 'is_compiling')  # torch 2.1 can't


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
    # Nothing in it is random.
    hidden = _recompute(block, lambda *parts: expand(torch.cat(parts, dim=1)), convolved, passed, random=False)
    out = _recompute(block, lambda hidden: project(activation(norm(hidden))), hidden, random=False)
    return block.add_to(x, out)


def _recompute(block: nn.Module, function: Callable[..., Tensor], *inputs: Tensor, random: bool = True) -> Tensor:
    """Call a function now, and once more in the backward pass, which BN must not count as a second batch."""
    # torch.compile, which recomputes in its own way, does not support context_fn. As a decorator, disable would load
    # the compiler when this module is imported, which takes a second.
    call = torch.compiler.disable(checkpoint) if _can_tell and torch.compiler.is_compiling() else checkpoint
    return call(
        function,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=random,
        context_fn=lambda: (nullcontext(), _spare_bn_buffers(block)),
    )


if not _can_tell:
    _recompute = torch.compiler.disable(_recompute)


def spare_bn_of(network: nn.Module) -> None:
    """Let the BN layers of a network that recomputes itself count each batch once.

    Args:
        network: The network, whose recomputation is not this module's.
    """
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(_set_buffers_aside)
            # Recomputation ends as soon as the last tensor is known, with an exception.
            module.register_forward_hook(_restore_buffers, always_call=True)


def _set_buffers_aside(norm: nn.Module, *_: object) -> None:
    # As torch's checkpoint does: inside a backward pass, a forward is a recomputation.
    if norm.training and torch._C._current_graph_task_id() != -1:
        norm.set_aside = dict(norm._buffers)
        norm._buffers.update({name: None if kept is None else kept.clone() for name, kept in norm.set_aside.items()})


def _restore_buffers(norm: nn.Module, *_: object) -> None:
    norm._buffers.update(norm.__dict__.pop('set_aside', {}))


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
