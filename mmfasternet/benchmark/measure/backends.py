"""The backends that run a backbone: PyTorch, its compiler, ONNX Runtime or OpenVINO."""

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mmfasternet.deploy.fold import TOLERANCE, largest_difference
from mmfasternet.errors import UserError

from .precision import (
    LackingError,
    autocast,
    check_computed,
    exact_fp32,
    onnxruntime_precision,
    openvino_precision,
)

__all__ = ['BACKENDS', 'PROVIDERS', 'Prepared', 'backend_forward', 'check_backend', 'exported', 'running']

BACKENDS = ('eager', 'compile', 'onnxruntime', 'openvino')
PROVIDERS = ('CPUExecutionProvider', 'CUDAExecutionProvider', 'TensorrtExecutionProvider')
# Precision → OpenVINO's name of it; an int8 file is fp32 in what is not quantized.
_HINTS = dict(fp32='f32', fp16='f16', bf16='bf16', int8='f32')
# Otherwise CUDA's convolutions are in TF32.
_PROVIDER_OPTIONS = dict(CUDAExecutionProvider=dict(use_tf32='0'))
_Forward = Callable[[Tensor], tuple]


@dataclass(frozen=True)
class Prepared:
    """A backbone that is ready to run in a backend.

    Args:
        forward: From an image to its feature maps, in the context of :func:`running`.
        computed_in: What the backend computed in, as it says, or as the difference shows.
        max_difference: Largest difference from PyTorch's feature maps in fp32 over the largest value of the map.
    """

    forward: _Forward
    computed_in: str
    max_difference: float


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
    if backend == 'onnxruntime' and precision != 'fp32':
        raise UserError(f'ONNX Runtime runs the file in its own fp32; {precision} is for the other backends')
    if backend == 'openvino' and device != 'cpu':
        raise UserError(f'backend openvino is measured on the cpu alone, but device is {device!r}')


def backend_forward(
    backbone: nn.Module,
    image: Tensor,
    backend: str,
    threads: int,
    provider: str | None = None,
    precision: str = 'fp32',
    model: bytes | None = None,
    reference: nn.Module | None = None,
) -> Prepared:
    """Prepare a backbone to run in a backend, on images of one size, and compare it with PyTorch.

    Args:
        backbone: In evaluation mode, on the image's device.
        image: Normalized, of shape (N, 3, H, W).
        backend: One of ``BACKENDS``.
        threads: Threads that a runtime may use on the CPU; torch's own are set by ``torch.set_num_threads``.
        provider: ONNX Runtime's execution provider; None means the one of the image's device. Defaults to None.
        precision: 'fp32'; 'fp16' or 'bf16', in PyTorch by autocast; or 'int8' for a quantized file. Defaults to 'fp32'.
        model: ONNX file's content to run. None means the backbone, exported. Defaults to None.
        reference: What the feature maps are compared with. None means the backbone in eager PyTorch. Defaults to None.

    Returns:
        How to run it, what it computes in, and its difference from PyTorch in fp32.

    Raises:
        LackingError: If this machine lacks the precision, or the C++ compiler that torch.compile needs.
        UserError: If the backend or provider is missing here, or in fp32 the maps are not PyTorch's.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> model, image = FasterNet('t0').eval().requires_grad_(False), torch.rand(1, 3, 64, 64)
        >>> prepared = backend_forward(model, image, 'onnxruntime', threads=1)
        >>> len(prepared.forward(image)), prepared.computed_in, prepared.max_difference < 1e-4
        (4, 'fp32', True)
    """
    with running(backend, precision, image.device.type):
        computed_in = None
        if backend == 'eager':
            forward = backbone
        elif backend == 'compile':
            forward = _in_compiler(backbone, image)
        elif backend == 'onnxruntime':
            forward, computed_in = _in_onnxruntime(model or exported(backbone), image, threads, provider)
        else:
            forward, computed_in = _in_openvino(model or exported(backbone), image, threads, precision)
        maps = [out.float() for out in forward(image)]
    with torch.no_grad(), exact_fp32():
        difference = largest_difference(maps, (reference or backbone)(image))
    if precision == 'fp32' and not difference <= TOLERANCE:
        raise UserError(
            f'{backend} gives maps that differ from PyTorch by {difference:.1e} of their largest value, where '
            f'{TOLERANCE:.0e} is allowed, so it is not measured'
        )
    return Prepared(forward, check_computed(backend, precision, computed_in, difference), difference)


@contextmanager
def running(backend: str, precision: str, device: str) -> Iterator[None]:
    """The context in which a backend runs: no gradients, and in PyTorch the precision.

    Args:
        backend: One of ``BACKENDS``.
        precision: One that the backend can take.
        device: Where the model runs, such as 'cpu' or 'cuda:0'.

    Raises:
        LackingError: If PyTorch can't compute in the precision on the device.
    """
    # The compiler freezes weights where gradients are off, and not in inference mode.
    gradients = torch.no_grad() if backend == 'compile' else torch.inference_mode()
    cast = autocast(precision if backend in ('eager', 'compile') else 'fp32', device)
    with gradients, cast, exact_fp32():
        yield


def _in_compiler(backbone: nn.Module, image: Tensor) -> _Forward:
    # Without a reset, the compiler assumes dynamic sizes after a few sizes, and finally refuses to recompile.
    torch._dynamo.reset()
    # A copy, since freezing takes the weights out of the module.
    compiled = torch.compile(copy.deepcopy(backbone), dynamic=False)

    def forward(image: Tensor) -> tuple[Tensor, ...]:
        # Not by torch.compile(options=...), which sets it too late: the weights are inputs of the graph by then.
        with torch._inductor.config.patch(freezing=True):
            return compiled(image)

    try:
        forward(image)
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

    return to_onnx(copy.deepcopy(backbone).cpu(), 'backbone', ()).SerializeToString()


def _in_onnxruntime(model: bytes, image: Tensor, threads: int, provider: str | None) -> tuple[_Forward, str | None]:
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
            model, options, providers=[(provider, _PROVIDER_OPTIONS.get(provider, {}))]
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
            # Bound, so that neither the image nor the maps of a GPU are copied.
            binding.bind_input('image', device, index, np.float32, image.shape, image.data_ptr())
            session.run_with_iobinding(binding)
            return tuple(torch.from_dlpack(value) for value in binding.get_outputs())

        forward(image)
        return forward, onnxruntime_precision(session.end_profiling(), provider)


def _in_openvino(model: bytes, image: Tensor, threads: int, precision: str) -> tuple[_Forward, str]:
    try:
        import openvino
    except ImportError as error:
        raise UserError('backend openvino needs it: pip install openvino') from error

    core = openvino.Core()
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
