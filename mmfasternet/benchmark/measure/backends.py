"""The backends that run a backbone: PyTorch, its CUDA graphs and compiler, ONNX Runtime or OpenVINO."""

import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mmfasternet.deploy.fold import largest_difference
from mmfasternet.deploy.graphs import capture
from mmfasternet.errors import UserError

from .gpu import is_gpu, one_size, synchronize
from .openvino_core import openvino_core
from .precision import (
    PRECISIONS,
    LackingError,
    check_computed,
    check_difference,
    exact_fp32,
    in_precision,
    onnxruntime_precision,
    openvino_precision,
)

__all__ = [
    'BACKENDS',
    'COMPILE_MODES',
    'IN_PYTORCH',
    'PROVIDERS',
    'Prepared',
    'backend_forward',
    'check_backend',
    'exported',
    'running',
]

# Those that take any precision by autocast, or by weights that are cast.
IN_PYTORCH = ('eager', 'graph', 'compile')
BACKENDS = (*IN_PYTORCH, 'onnxruntime', 'openvino')
# torch.compile's; the last two replay CUDA graphs, and the last one also tries kernels out.
COMPILE_MODES = ('default', 'reduce-overhead', 'max-autotune')
PROVIDERS = ('CPUExecutionProvider', 'CUDAExecutionProvider', 'TensorrtExecutionProvider')
# Provider of ONNX Runtime → precision → the options that it takes.
_PROVIDER_OPTIONS: dict[str, dict[str, dict[str, str]]] = dict(
    CPUExecutionProvider=dict(fp32={}),
    CUDAExecutionProvider=dict(fp32=dict(use_tf32='0'), tf32=dict(use_tf32='1')),
    # TensorRT has TF32 on, and no option of the provider switches it off.
    TensorrtExecutionProvider=dict(tf32={}, fp16=dict(trt_fp16_enable='1')),
)
# Precision → OpenVINO's name of it; an int8 file is fp32 in what is not quantized.
_HINTS = dict(fp32='f32', fp16='f16', bf16='bf16', int8='f32')
# The first run of a CUDA graph warms up, the second is captured, and the third replays it.
_RUNS_TO_CAPTURE = 3
# Sizes and networks that the compiler compiles before it gives up, which it otherwise does after eight.
_MOST_COMPILED = 1000
_Forward = Callable[[Tensor], tuple]


@dataclass(frozen=True)
class Prepared:
    """A backbone that is ready to run in a backend.

    Args:
        forward: From an image to its feature maps, in the context of :func:`running`.
        computed_in: What the backend computed in, as it says, or as the difference shows.
        max_difference: Largest difference from PyTorch's feature maps in fp32 over the largest value of the map.
        compile_s: Seconds that torch.compile took, with the runs that it needs for it; None for another backend.
    """

    forward: _Forward
    computed_in: str
    max_difference: float
    compile_s: float | None = None


def check_backend(backend: str, provider: str | None, device: str, precision: str) -> None:
    """Make sure that these go together."""
    if backend not in BACKENDS:
        raise UserError(f'backend must be one of {", ".join(BACKENDS)}, but got {backend!r}')
    if provider is not None and (backend != 'onnxruntime' or provider not in PROVIDERS):
        raise UserError(
            f'provider is for backend onnxruntime and one of {", ".join(PROVIDERS)}, but got {provider!r} for {backend}'
        )
    if provider is not None and (provider == PROVIDERS[0]) != (device == 'cpu'):
        raise UserError(f'{provider} does not run on device {device!r}: give --device with it')
    if backend == 'onnxruntime' and precision != 'int8':
        provider = provider or PROVIDERS[is_gpu(device)]
        if precision not in _PROVIDER_OPTIONS[provider]:
            raise UserError(
                f"ONNX Runtime's {provider} runs a float32 file in {' or '.join(_PROVIDER_OPTIONS[provider])}; "
                f'{precision} is for the other backends'
            )
    if backend == 'openvino' and device != 'cpu':
        raise UserError(f'backend openvino is measured on the cpu alone, but device is {device!r}')
    if backend == 'graph' and not is_gpu(device):
        raise UserError(f'backend graph replays CUDA graphs, which need a GPU, but device is {device!r}: use eager')


def backend_forward(
    backbone: nn.Module,
    image: Tensor,
    backend: str,
    threads: int,
    provider: str | None = None,
    precision: str = 'fp32',
    model: bytes | None = None,
    reference: nn.Module | None = None,
    weights: str | None = None,
    compile_mode: str | None = None,
) -> Prepared:
    """Prepare a backbone to run in a backend, on images of one size, and compare it with PyTorch.

    Args:
        backbone: In evaluation mode, on the image's device, in float32.
        image: Normalized, of shape (N, 3, H, W), float32.
        backend: One of ``BACKENDS``.
        threads: Threads that a runtime may use on the CPU; torch's own are set by ``torch.set_num_threads``.
        provider: ONNX Runtime's execution provider; None means the one of the image's device. Defaults to None.
        precision: 'fp32' or 'tf32'; 'fp16' or 'bf16', in PyTorch by autocast or by weights that are cast; or 'int8' for
            a quantized file. Defaults to 'fp32'.
        model: ONNX file's content to run. None means the backbone, exported. Defaults to None.
        reference: What the feature maps are compared with. None means the backbone in eager PyTorch. Defaults to None.
        weights: 'cast' to run in PyTorch with weights and image in the precision, not by autocast. Defaults to None.
        compile_mode: torch.compile's, one of ``COMPILE_MODES``. None means 'default'. Defaults to None.

    Returns:
        How to run it, what it computes in, and its difference from PyTorch in fp32. The forward takes the image in
        float32; with weights that are cast, it takes the image cast.

    Raises:
        LackingError: If this machine lacks the precision, or the C++ compiler that torch.compile needs.
        UserError: If the backend or provider is missing here, or the maps differ by more than the precision explains.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> model, image = FasterNet('t0').eval().requires_grad_(False), torch.rand(1, 3, 64, 64)
        >>> prepared = backend_forward(model, image, 'onnxruntime', threads=1)
        >>> len(prepared.forward(image)), prepared.computed_in, prepared.max_difference < 1e-4
        (4, 'fp32', True)
    """
    reference = reference or backbone
    given = image
    if weights == 'cast':
        backbone, given = copy.deepcopy(backbone).to(PRECISIONS[precision]), image.to(PRECISIONS[precision])
    with running(backend, precision, str(image.device), weights):
        computed_in, seconds = None, None
        if backend == 'eager':
            forward = backbone
        elif backend == 'graph':
            forward = _in_graph(backbone, given)
        elif backend == 'compile':
            start = time.perf_counter()
            forward = _in_compiler(backbone, given, compile_mode)
            seconds = round(time.perf_counter() - start, 1)
        elif backend == 'onnxruntime':
            forward, computed_in = _in_onnxruntime(model or exported(backbone), image, threads, provider, precision)
        else:
            forward, computed_in = _in_openvino(model or exported(backbone), image, threads, precision)
        maps = [out.float() for out in forward(given)]
    with torch.no_grad(), exact_fp32():
        difference = largest_difference(maps, reference(image))
    check_difference(backend, precision, difference)
    return Prepared(forward, check_computed(backend, precision, computed_in, difference), difference, seconds)


@contextmanager
def running(backend: str, precision: str, device: str, weights: str | None = None) -> Iterator[None]:
    """The context in which a backend runs on images of one size: no gradients, and in PyTorch the precision.

    Args:
        backend: One of ``BACKENDS``.
        precision: One that the backend can take.
        device: Where the model runs, such as 'cpu' or 'cuda:0'.
        weights: 'cast' if the weights have the precision, so that PyTorch needs no autocast. Defaults to None.

    Raises:
        LackingError: If PyTorch can't compute in the precision on the device.
    """
    with ExitStack() as stack:
        stack.enter_context(one_size())
        stack.enter_context(in_precision(precision if backend in IN_PYTORCH else 'fp32', device, weights))
        # The compiler freezes weights where gradients are off, and not in inference mode.
        stack.enter_context(torch.no_grad() if backend == 'compile' else torch.inference_mode())
        if backend == 'compile':
            for settings in _compiler_settings():
                stack.enter_context(settings)
        yield


def _in_graph(backbone: nn.Module, image: Tensor) -> _Forward:
    """The backbone as a CUDA graph, which gives the same memory in each run: filled with NaN, until it is replayed."""
    graph = capture(backbone, static_outputs=True)
    for _ in range(_RUNS_TO_CAPTURE):
        maps = graph(image)
    for out in maps:
        out.fill_(float('nan'))
    return graph


def _compiler_settings() -> Iterator[AbstractContextManager]:
    # Not by torch.compile(options=...), which sets it too late: the weights are inputs of the graph by then.
    yield torch._inductor.config.patch(freezing=True)
    # Models of one class share their code, and so the number of compilations after which the compiler gives up.
    config = torch._dynamo.config
    # The first two are the names of torch 2.1 to 2.5.
    names = ('cache_size_limit', 'accumulated_cache_size_limit', 'recompile_limit', 'accumulated_recompile_limit')
    yield config.patch({name: _MOST_COMPILED for name in names if hasattr(config, name)})


def _in_compiler(backbone: nn.Module, image: Tensor, mode: str | None) -> _Forward:
    # A copy, since freezing takes the weights out of the module.
    compiled = torch.compile(copy.deepcopy(backbone), dynamic=False, mode=mode)

    def forward(image: Tensor) -> tuple[Tensor, ...]:
        # A new run, whose maps may be written over those of the last one where CUDA graphs are replayed. The public
        # name is younger than torch 2.1.
        torch._inductor.cudagraph_mark_step_begin()
        return compiled(image)

    try:
        for _ in range(_RUNS_TO_CAPTURE):
            forward(image)
        synchronize(str(image.device))
    except RuntimeError as error:
        if 'No working C++ compiler' in str(error):
            raise LackingError(
                'torch.compile needs a C++ compiler on the CPU, and there is none: install g++'
            ) from error
        raise
    return forward


def exported(backbone: nn.Module) -> bytes:
    """The content of the backbone's ONNX file for images of any size, as tools/export.py writes it."""
    # Imported here, since the other backends need no ONNX.
    from mmfasternet.deploy.export import to_onnx

    return to_onnx(copy.deepcopy(backbone).cpu()).SerializeToString()


def _in_onnxruntime(
    model: bytes, image: Tensor, threads: int, provider: str | None, precision: str
) -> tuple[_Forward, str | None]:
    import onnxruntime

    provider = provider or PROVIDERS[image.is_cuda]
    if provider not in onnxruntime.get_available_providers():
        raise UserError(
            f'this ONNX Runtime has no {provider}, but {", ".join(onnxruntime.get_available_providers())}: '
            'the package onnxruntime-gpu has CUDA and TensorRT'
        )
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # The profile of the first run tells what ran where.
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder, 'profile'))
        session = onnxruntime.InferenceSession(
            model, options, providers=[(provider, _PROVIDER_OPTIONS.get(provider, {}).get(precision, {}))]
        )
        if session.get_providers()[0] != provider:
            raise UserError(
                f'ONNX Runtime could not start {provider} and took {session.get_providers()[0]} in its place'
            )
        device, index = image.device.type, image.device.index or 0
        binding = session.io_binding()
        for output in session.get_outputs():
            binding.bind_output(output.name, device, index)

        def forward(image: Tensor) -> tuple[Tensor, ...]:
            image = image.contiguous()
            # ONNX Runtime has a stream of its own, which does not wait for what torch has launched.
            synchronize(str(image.device))
            # Bound, so that neither the image nor the maps of a GPU are copied.
            binding.bind_input('image', device, index, np.float32, image.shape, image.data_ptr())
            session.run_with_iobinding(binding)
            return tuple(torch.from_dlpack(value) for value in binding.get_outputs())

        forward(image)
        found = onnxruntime_precision(session.end_profiling(), provider)
        # Whether a GPU computed float32 in TF32 shows in the difference alone.
        return forward, None if found == 'fp32' and image.is_cuda else found


def _in_openvino(model: bytes, image: Tensor, threads: int, precision: str) -> tuple[_Forward, str]:
    core = openvino_core()
    network = core.read_model(model, b'')
    network.reshape({network.inputs[0]: list(image.shape)})
    options = dict(
        INFERENCE_PRECISION_HINT=_HINTS[precision], INFERENCE_NUM_THREADS=threads, PERFORMANCE_HINT='LATENCY'
    )
    try:
        compiled = core.compile_model(network, 'CPU', options)
    except RuntimeError as error:
        # As with ONEDNN_MAX_CPU_ISA below what the CPU has.
        if precision in ('fp16', 'bf16'):
            reason = str(error).strip().splitlines()[-1]
            raise LackingError(f'openvino cannot compute in {precision} here ({reason})') from error
        raise
    request = compiled.create_infer_request()

    def forward(image: Tensor) -> tuple[Tensor, ...]:
        request.infer({0: image.numpy()}, share_inputs=True)
        return tuple(torch.from_numpy(request.get_tensor(output).data) for output in compiled.outputs)

    return forward, openvino_precision(compiled)
