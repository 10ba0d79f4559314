"""CUDA graphs of a backbone: one launch for all of its kernels, for the sizes of images that come again."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmfasternet.models.arguments import as_integer

from .backbone import has_hooks
from .packed import autocast_type, is_traced

__all__ = ['CapturedBackbone', 'capture']

# Runs before a capture, in which libraries choose their kernels and modules prepare their weights.
_WARM_UP = 3


def capture(backbone: nn.Module, sizes: int = 4, static_outputs: bool = False) -> 'CapturedBackbone':
    """Let a backbone replay CUDA graphs, since launching the kernels of a small one takes longer than running them.

    This works for any backbone whose forward depends on nothing but the image and does not wait for the GPU, such as
    FasterNet, before and better after :func:`~mmfasternet.deploy.optimize_for_inference`. In a detector, write
    ``detector.backbone = capture(detector.backbone)``.

    A graph is captured when an image of its shape, strides and type, under the same autocast, comes for the second
    time among the last ``sizes`` different ones, so sizes that don't come again cost nothing. Until then the backbone
    runs as it is, and so it does on other devices, with gradients enabled, in training mode, and while something
    compiles, traces or captures it. A graph keeps the settings of its capture, such as TF32. Under autocast it casts
    weights that have gradients in every replay.

    ``.to()``, ``.half()`` and ``load_state_dict()`` drop the graphs, and a copy or pickle has none. After changing
    weights in another way, call ``capture`` again.

    Args:
        backbone: Gives a sequence of feature maps; it is shared, not copied.
        sizes: Largest number of graphs, which share their memory; the one that was not used for longest is dropped.
            Defaults to 4.
        static_outputs: Whether to return the graph's own tensors rather than copies. They are valid only until the
            next call, of whatever size, which overwrites them. Defaults to False.

    Returns:
        A module in place of the backbone, with its attributes and the keys of its state dict. It is not for several
        threads at once.

    Raises:
        TypeError: If the backbone is no module.
        ValueError: If a module of the backbone has a forward hook, which a replay would not call.

    Example:
        >>> from mmfasternet import FasterNet
        >>> backbone = FasterNet('t0').eval()
        >>> captured = capture(backbone)
        >>> captured.out_indices, captured.state_dict().keys() == backbone.state_dict().keys()
        ((0, 1, 2, 3), True)
        >>> with torch.no_grad():
        ...     len(captured(torch.rand(1, 3, 64, 64)))
        4
    """
    if not isinstance(backbone, nn.Module):
        raise TypeError(f'capture takes a backbone, which is an nn.Module, but got {backbone!r}')
    hooked = [name or 'itself' for name, module in backbone.named_modules() if has_hooks(module)]
    if hooked:
        raise ValueError(f'a graph calls no forward hooks, so remove those on the backbone first: {", ".join(hooked)}')
    return CapturedBackbone(backbone, as_integer('sizes', sizes, 1), static_outputs)


class _Memory(NamedTuple):
    """Where graphs keep their tensors. torch reuses memory only for captures on the same stream."""

    pool: Any
    stream: torch.cuda.Stream


class _Graph(NamedTuple):
    """A captured forward: what runs it again, the memory it runs in, what it reads, and what it writes."""

    replay: Callable[[], None]
    memory: _Memory
    image: Tensor
    maps: tuple[Tensor, ...]


class CapturedBackbone(nn.Module):
    """What :func:`capture` makes of a backbone.

    Args:
        backbone: See :func:`capture`.
        sizes: See :func:`capture`.
        static_outputs: See :func:`capture`.

    Example:
        >>> CapturedBackbone(nn.Sequential(nn.ReLU()), sizes=4, static_outputs=False)
        CapturedBackbone(
          (0): ReLU()
        )
    """

    def __init__(self, backbone: nn.Module, sizes: int, static_outputs: bool) -> None:
        super().__init__()
        # Not a child but the same children and weights, so that all names stay.
        self.__dict__['backbone'] = backbone
        for name in ('_parameters', '_buffers', '_non_persistent_buffers_set', '_modules'):
            setattr(self, name, getattr(backbone, name))
        self.training = backbone.training
        self.sizes = sizes
        self.static_outputs = static_outputs
        self.graphs: OrderedDict[tuple, _Graph] = OrderedDict()
        self.recent: OrderedDict[tuple, None] = OrderedDict()

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """Compute the feature maps.

        Args:
            x: Images, as the backbone takes them.

        Returns:
            What the backbone gives; from a graph, a tuple.
        """
        if self.training or torch.is_grad_enabled() or not _is_capturable(x):
            return self.backbone(x)
        key = (x.shape, x.stride(), x.dtype, x.device, autocast_type(x))
        comes_again = key in self.recent
        _use(self.recent, key, None, self.sizes)
        if key not in self.graphs and not comes_again:
            return self.backbone(x)
        graph = self.graphs.get(key) or self._capture(x)
        _use(self.graphs, key, graph, self.sizes)
        graph.image.copy_(x)
        graph.replay()
        return graph.maps if self.static_outputs else tuple(out.clone() for out in graph.maps)

    def train(self, mode: bool = True) -> 'CapturedBackbone':
        """Set the mode of the backbone.

        Args:
            mode: Training mode (True) or evaluation mode (False). Defaults to True.

        Returns:
            The module itself.
        """
        self.backbone.train(mode)
        self.training = mode
        return self

    def _capture(self, x: Tensor) -> _Graph:
        memory = next((graph.memory for graph in self.graphs.values()), None)
        return _capture_graph(self.backbone, x, memory)

    def _drop_graphs(self) -> None:
        self.graphs.clear()
        self.recent.clear()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # A copy that is being made has no backbone yet.
            if 'backbone' not in self.__dict__:
                raise
            return getattr(self.backbone, name)

    def __getstate__(self) -> dict:
        return {**self.__dict__, 'graphs': OrderedDict(), 'recent': OrderedDict()}

    # Graphs have the addresses of the weights, and of what was made of them.

    def _apply(self, fn, *args, **kwargs) -> 'CapturedBackbone':  # noqa: ANN001
        self._drop_graphs()
        return super()._apply(fn, *args, **kwargs)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self._drop_graphs()
        super()._load_from_state_dict(*args, **kwargs)


def _is_capturable(x: Tensor) -> bool:
    # A subclass, such as a fake tensor, has no memory of its own.
    return type(x) is Tensor and x.is_cuda and not is_traced() and not torch.cuda.is_current_stream_capturing()


def _capture_graph(backbone: nn.Module, x: Tensor, memory: _Memory | None) -> _Graph:
    """Capture a forward in the memory of other graphs, or in new memory."""
    dtype = autocast_type(x)
    # What autocast caches is gone when its context ends, and the graph would read it.
    autocast = nullcontext() if dtype is None else torch.autocast('cuda', dtype, cache_enabled=False)
    # In inference mode the image would become a tensor that can't be overwritten outside of it.
    with torch.cuda.device(x.device), torch.inference_mode(False), torch.no_grad(), autocast:
        image = x.clone()
        # Not on the stream of the capture, which cuBLAS would then give memory outside the graph's own. Others may free
        # that, as torch.compile does before it captures, and a replay would write to it.
        for _ in range(_WARM_UP):
            backbone(image)
        pool, stream = memory or (None, torch.cuda.Stream())
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as a data loader's, may go on with CUDA.
        with torch.cuda.graph(graph, pool, stream, capture_error_mode='thread_local'):
            maps = tuple(backbone(image))
    return _Graph(graph.replay, _Memory(graph.pool(), stream), image, maps)


def _use(kept: OrderedDict, key: tuple, value: Any, most: int) -> None:
    """Put an entry last, and drop the first one if there are too many."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
