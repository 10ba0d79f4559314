"""What a network is really computed in: fp32 without TF32, autocast where the device has it, and what a runtime says.

A runtime may accept a precision that the device lacks, or a provider that lacks an operator, and compute something else
without a word. So it is asked afterwards.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch

from mmfasternet.deploy.fold import TOLERANCE
from mmfasternet.errors import UserError

__all__ = [
    'PRECISIONS',
    'LackingError',
    'autocast',
    'check_computed',
    'exact_fp32',
    'onnxruntime_precision',
    'openvino_precision',
]

# Precision → what torch casts to.
PRECISIONS = dict(fp32=None, fp16=torch.float16, bf16=torch.bfloat16)
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
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision('highest')
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)


def autocast(precision: str, device: str) -> AbstractContextManager:
    """torch's autocast to a precision that the device has.

    Args:
        precision: One of ``PRECISIONS``.
        device: Where the model runs, such as 'cpu' or 'cuda:0'.

    Returns:
        The context, which does nothing for 'fp32'.

    Raises:
        LackingError: If torch can't cast to it there, or would only emulate it.

    Example:
        >>> with autocast('fp32', 'cpu'):
        ...     torch.is_autocast_enabled('cpu')
        False
    """
    dtype, kind = PRECISIONS[precision], torch.device(device).type
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        context = torch.autocast(kind, dtype=dtype, enabled=dtype is not None)
    # torch only warns of a precision that it can't cast to, and computes in fp32.
    if any('isabling autocast' in str(warning.message) for warning in caught):
        raise LackingError(f'autocast to {precision} does not exist on {device} in torch {torch.__version__}')
    if kind == 'cpu' and dtype is not None:
        supported = getattr(torch.ops.mkldnn, f'_is_mkldnn_{precision}_supported', None)
        if supported is None or not supported():
            raise LackingError(f'torch has no {precision} convolutions for this CPU, and would only emulate them')
    return context


def openvino_precision(compiled: Any) -> str:
    """What a compiled model of OpenVINO computes most of its convolutions and matrix products in."""
    found: Counter = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = node.get_rt_info()
        if facts['layerType'].astype(str) in ('Convolution', 'FullyConnected', 'MatMul'):
            found[facts['runtimePrecision'].astype(str)] += 1
    ((name, _),) = found.most_common(1)
    return _OPENVINO.get(name, name)


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
    found = computed_in or ('fp32' if difference <= TOLERANCE else precision)
    if found != precision:
        raise LackingError(f'{backend} computes in {found} here when {precision} is asked for')
    return found


def _types(node: dict) -> set[str]:
    """Types of a node's outputs."""
    return {name for shape in node.get('output_type_shape', []) for name in shape}
