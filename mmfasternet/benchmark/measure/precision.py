"""What a network is really computed in: fp32 or TF32, half precision where the device has it, and what a runtime says.

A runtime may accept a precision that the device lacks, or a provider that lacks an operator, and compute something else
without a word. So it is asked afterwards.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from mmfasternet.deploy.fold import TOLERANCE
from mmfasternet.errors import UserError

__all__ = [
    'HALVES',
    'PRECISIONS',
    'TOLERANCES',
    'LackingError',
    'autocast',
    'check_computed',
    'check_difference',
    'check_precision',
    'exact_fp32',
    'in_precision',
    'onnxruntime_precision',
    'openvino_precision',
    'tf32',
]

# Those in which values are stored in 16 bits.
HALVES = dict(fp16=torch.float16, bf16=torch.bfloat16)
# Precision → what torch computes with. TF32 stores float32, and multiplies with 10 bits of the mantissa.
PRECISIONS = dict(fp32=torch.float32, tf32=torch.float32, **HALVES)
# Precision → largest difference from fp32, over a feature map's largest value, that its rounding may cause.
TOLERANCES = dict(fp32=TOLERANCE, tf32=5e-3, fp16=2e-2, bf16=8e-2)
# What differs from fp32 by less is fp32. TF32 differs by 2e-4 and more, unless cuDNN takes fp32 for some layers.
_AS_FP32 = 3e-5
# The first NVIDIA GPUs that have TF32 and bfloat16, Ampere.
_AMPERE = (8, 0)
# What OpenVINO calls the precision of a layer → ours.
_OPENVINO = dict(f32='fp32', f16='fp16', bf16='bf16', u8='int8', i8='int8')
_MULTIPLYING = ('Conv', 'MatMul', 'Gemm')


class LackingError(UserError):
    """This machine lacks what a precision or an engine needs, so there is nothing to measure."""


@contextmanager
def exact_fp32() -> Iterator[None]:
    """Let torch compute float32 in float32: not in TF32, its default for convolutions on a GPU, and not in bfloat16.

    Example:
        >>> with exact_fp32():
        ...     torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
        (False, 'highest')
    """
    with _float32(False, 'highest'):
        yield


@contextmanager
def tf32() -> Iterator[None]:
    """Let torch compute float32 in TF32, convolutions and matrix products alike; by default it is the former alone.

    Example:
        >>> with tf32():
        ...     torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
        (True, 'high')
    """
    with _float32(True, 'high'):
        yield


@contextmanager
def _float32(convolutions: bool, products: str) -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.set_float32_matmul_precision(products)
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


def check_precision(precision: str, device: str) -> None:
    """Make sure that torch computes in a precision on a device, and does not only emulate it.

    Args:
        precision: One of ``PRECISIONS``.
        device: Where the model runs, such as 'cpu' or 'cuda:0'.

    Raises:
        LackingError: If the device lacks it.

    Example:
        >>> check_precision('fp32', 'cpu')
    """
    kind = torch.device(device).type
    if kind == 'cuda' and precision in ('tf32', 'bf16') and torch.cuda.get_device_capability(device) < _AMPERE:
        raise LackingError(
            f'{precision} needs a GPU from Ampere on (compute capability {_AMPERE[0]}.{_AMPERE[1]}), and {device} is '
            f'older: {torch.cuda.get_device_name(device)}'
        )
    if kind != 'cuda' and precision == 'tf32':
        raise LackingError(f"tf32 is a precision of NVIDIA's GPUs from Ampere on, which {device} is not: use fp32")
    if kind == 'cpu' and precision in HALVES:
        supported = getattr(torch.ops.mkldnn, f'_is_mkldnn_{precision}_supported', None)
        if supported is None or not supported():
            raise LackingError(f'torch has no {precision} convolutions for this CPU, and would only emulate them')


def autocast(precision: str, device: str) -> AbstractContextManager:
    """torch's autocast to a precision that the device has, see :func:`check_precision`.

    Args:
        precision: One of ``PRECISIONS``.
        device: Where the model runs, such as 'cpu' or 'cuda:0'.

    Returns:
        The context, which does nothing for 'fp32' and 'tf32'.

    Raises:
        LackingError: If torch can't cast to it there.

    Example:
        >>> with autocast('fp32', 'cpu'):
        ...     (torch.rand(2, 2) @ torch.rand(2, 2)).dtype
        torch.float32
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        context = torch.autocast(torch.device(device).type, dtype=HALVES.get(precision), enabled=precision in HALVES)
    # torch only warns of a precision that it can't cast to, and computes in fp32.
    if any('isabling autocast' in str(warning.message) for warning in caught):
        raise LackingError(f'autocast to {precision} does not exist on {device} in torch {torch.__version__}')
    return context


def openvino_precision(compiled: Any) -> str | None:
    """What a compiled model of OpenVINO computes most of its convolutions and matrix products in; None without any."""
    found: Counter = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = node.get_rt_info()
        if facts['layerType'].astype(str) in ('Convolution', 'FullyConnected', 'MatMul'):
            found[facts['runtimePrecision'].astype(str)] += 1
    return next((_OPENVINO.get(name, name) for name, _ in found.most_common(1)), None)


def onnxruntime_precision(profile: str | Path, provider: str) -> str | None:
    """What ONNX Runtime computed most of its convolutions and matrix products in, by the profile of a run.

    Args:
        profile: The file that ``session.end_profiling()`` returned.
        provider: The execution provider that should have run everything.

    Returns:
        'int8' or 'fp32', or None where the provider does not say: TensorRT's engines are one node.

    Raises:
        UserError: If the CPU ran something in place of the provider.
    """
    events = json.loads(Path(profile).read_text())
    nodes = [event['args'] for event in events if event['cat'] == 'Node' and 'provider' in event['args']]
    # Shapes are integers, and computed on the CPU on purpose.
    elsewhere = {node['op_name'] for node in nodes if node['provider'] != provider and 'int64' not in _types(node)}
    if elsewhere:
        raise UserError(
            f'{provider} does not run {", ".join(sorted(elsewhere))} of this network, which ONNX Runtime would run on '
            'the CPU in its place, so it is not measured'
        )
    products = [node['op_name'] for node in nodes if node['op_name'].endswith(_MULTIPLYING)]
    if not products:
        return None
    return 'int8' if sum(name.startswith('QLinear') for name in products) > len(products) / 2 else 'fp32'


@contextmanager
def in_precision(precision: str, device: str, weights: str | None = None) -> Iterator[None]:
    """The context in which torch computes in a precision: float32 exactly or in TF32, half precision by autocast.

    Args:
        precision: One of ``PRECISIONS``.
        device: Where the model runs, such as 'cpu' or 'cuda:0'.
        weights: 'cast' if weights and image have the precision, so that there is nothing to cast. Defaults to None.

    Raises:
        LackingError: If torch can't compute in it there, or would only emulate it.

    Example:
        >>> with in_precision('fp32', 'cpu'):
        ...     torch.get_float32_matmul_precision()
        'highest'
    """
    check_precision(precision, device)
    with (
        tf32() if precision == 'tf32' else exact_fp32(),
        nullcontext() if weights == 'cast' else autocast(precision, device),
    ):
        yield


def check_difference(name: str, precision: str, difference: float) -> None:
    """Make sure that feature maps differ from those in fp32 by no more than a precision's rounding explains.

    Args:
        name: What computed them.
        precision: In what; int8 has no limit, since it depends on the calibration.
        difference: Largest difference over the largest value of the feature map.

    Raises:
        UserError: If it is above ``TOLERANCES``, or no number.

    Example:
        >>> check_difference('compile', 'tf32', 1e-3)
    """
    limit = TOLERANCES.get(precision)
    if limit is not None and not difference <= limit:
        raise UserError(
            f'{name} gives maps that differ from PyTorch in fp32 by {difference:.1e} of their largest value, where '
            f'{limit:.0e} is allowed in {precision}, so it is not measured'
        )


def check_computed(backend: str, precision: str, computed_in: str | None, difference: float) -> str:
    """Make sure that a backend computed in the precision that was asked for.

    Args:
        backend: Its name.
        precision: What was asked for.
        computed_in: What it says that it computed in. None means that it says nothing, and the difference decides.
        difference: The largest difference of its feature maps from fp32, relative to the largest value of the map.

    Returns:
        What it computed in.

    Raises:
        LackingError: If it was something else.

    Example:
        >>> check_computed('openvino', 'bf16', 'bf16', 5e-3)
        'bf16'
        >>> check_computed('openvino', 'bf16', 'fp32', 4e-7)
        Traceback (most recent call last):
        mmfasternet.benchmark.measure.precision.LackingError: openvino computes in fp32 here when bf16 is asked for
    """
    found = computed_in or ('fp32' if difference <= _AS_FP32 else precision)
    if found != precision:
        raise LackingError(f'{backend} computes in {found} here when {precision} is asked for')
    return found


def _types(node: dict) -> set[str]:
    """Types of a node's outputs."""
    return {name for shape in node.get('output_type_shape', []) for name in shape}
