"""The backends that run a backbone: PyTorch, its compiler, ONNX Runtime or OpenVINO."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from mmfasternet.deploy.fold import TOLERANCE, largest_difference
from mmfasternet.errors import UserError

__all__ = ['BACKENDS', 'PROVIDERS', 'backend_forward', 'check_backend', 'exported', 'no_gradients']

BACKENDS = ('eager', 'compile', 'onnxruntime', 'openvino')
PROVIDERS = ('CPUExecutionProvider', 'CUDAExecutionProvider', 'TensorrtExecutionProvider')
# Precision → OpenVINO's name of it.
_HINTS = dict(fp32='f32', fp16='f16', bf16='bf16')
_Forward = Callable[[Tensor], tuple]


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
) -> tuple[_Forward, float]:
    """Prepare a backbone to run in a backend, on images of one size, and compare it with PyTorch.

    Args:
        backbone: In evaluation mode, on the image's device.
        image: Normalized, of shape (N, 3, H, W).
        backend: One of ``BACKENDS``.
        threads: Threads that a runtime may use on the CPU; torch's own are set by ``torch.set_num_threads``.
        provider: ONNX Runtime's execution provider; None means the one of the image's device. Defaults to None.
        precision: 'fp32', or what OpenVINO computes in. Defaults to 'fp32'.
        model: ONNX file's content to run. None means the backbone, exported. Defaults to None.
        reference: What the feature maps are compared with. None means the backbone in eager PyTorch. Defaults to None.

    Returns:
        A function from an image to its feature maps, and their largest difference from PyTorch's in fp32, relative to
        the largest value of the map.

    Raises:
        UserError: If the backend or provider is missing here, or in fp32 the maps are not PyTorch's.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> model, image = FasterNet('t0').eval().requires_grad_(False), torch.rand(1, 3, 64, 64)
        >>> forward, difference = backend_forward(model, image, 'onnxruntime', threads=1)
        >>> len(forward(image)), difference < 1e-4
        (4, True)
    """
    if backend == 'eager':
        forward = backbone
    elif backend == 'compile':
        forward = _in_compiler(backbone)
    else:
        content = model or exported(backbone)
        forward = (
            _in_onnxruntime(content, image, threads, provider)
            if backend == 'onnxruntime'
            else _in_openvino(content, image, threads, precision)
        )
    with torch.no_grad():
        difference = largest_difference(forward(image), (reference or backbone)(image))
    if precision == 'fp32' and model is None and not difference <= TOLERANCE:
        raise UserError(
            f'{backend} gives maps that differ from PyTorch by {difference:.1e} of their largest value, where '
            f'{TOLERANCE:.0e} is allowed, so it is not measured'
        )
    return forward, difference


def no_gradients(backend: str) -> AbstractContextManager:
    """Gradients off: the compiler freezes weights where they are, and not in inference mode."""
    return torch.no_grad() if backend == 'compile' else torch.inference_mode()


def _in_compiler(backbone: nn.Module) -> _Forward:
    # Without a reset, the compiler assumes dynamic sizes after a few sizes, and finally refuses to recompile.
    torch._dynamo.reset()
    # A copy, since freezing takes the weights out of the module.
    compiled = torch.compile(copy.deepcopy(backbone), dynamic=False)

    def forward(image: Tensor) -> tuple[Tensor, ...]:
        # Not by torch.compile(options=...), which sets it too late: the weights are inputs of the graph by then.
        with torch._inductor.config.patch(freezing=True):
            return compiled(image)

    return forward


def exported(backbone: nn.Module) -> bytes:
    """The content of the backbone's ONNX file for images of any size, as tools/export.py writes it."""
    # Imported here, since the other backends need no ONNX.
    from mmfasternet.deploy.export import to_onnx

    return to_onnx(copy.deepcopy(backbone).cpu(), 'backbone', ()).SerializeToString()


def _in_onnxruntime(model: bytes, image: Tensor, threads: int, provider: str | None) -> _Forward:
    import onnxruntime

    provider = provider or PROVIDERS[image.is_cuda]
    if provider not in onnxruntime.get_available_providers():
        raise UserError(
            f'this ONNX Runtime has no {provider}, but {", ".join(onnxruntime.get_available_providers())}: '
            'the package onnxruntime-gpu has CUDA and TensorRT'
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=[provider])
    if session.get_providers()[0] != provider:
        raise UserError(f'ONNX Runtime could not start {provider} and took {session.get_providers()[0]} in its place')
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

    return forward


def _in_openvino(model: bytes, image: Tensor, threads: int, precision: str) -> _Forward:
    try:
        import openvino
    except ImportError as error:
        raise UserError('backend openvino needs it: pip install openvino') from error

    core = openvino.Core()
    network = core.read_model(model, b'')
    network.reshape({network.inputs[0]: list(image.shape)})
    compiled = core.compile_model(
        network,
        'CPU',
        dict(INFERENCE_PRECISION_HINT=_HINTS[precision], INFERENCE_NUM_THREADS=threads, PERFORMANCE_HINT='LATENCY'),
    )
    request = compiled.create_infer_request()

    def forward(image: Tensor) -> tuple[Tensor, ...]:
        request.infer({0: image.numpy()}, share_inputs=True)
        return tuple(torch.from_numpy(request.get_tensor(output).data) for output in compiled.outputs)

    return forward
