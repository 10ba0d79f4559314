"""The convolutions of an exported model in int8."""

import logging
import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from mmfasternet.errors import UserError

try:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
except ImportError as error:
    raise UserError(f'int8 needs onnx and onnxruntime ({error}): pip install mmfasternet[export]') from error

__all__ = ['WEIGHT_BITS', 'quantize']

# x86 CPUs without VNNI add two products of a value (8 bits) and a weight in 16 bits. With weights of 8 bits the sum can
# saturate; with 7 bits, 2 · 255 · 64, it fits.
WEIGHT_BITS = 7


class _Images(CalibrationDataReader):
    """The inputs that ONNX Runtime's calibration reads."""

    def __init__(self, images: Iterable[np.ndarray]) -> None:
        self.images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else dict(image=image)


def quantize(model: bytes, images: Iterable[np.ndarray], symmetric: bool = False) -> bytes:
    """Quantize the convolutions of an exported model to int8, with QuantizeLinear and DequantizeLinear around them.

    Weights have a scale per output channel and 7 bits, so that the sums of products are right on every CPU. Feature
    maps have 8 bits and the range that they have on the images. Everything else stays float32: the fully connected
    layers of a box head take a small part of the time, and boxes and scores need the precision. The file runs in every
    runtime that supports these two ONNX operators.

    Args:
        model: The content of an ONNX file that tools/export.py wrote.
        images: Inputs of the model to calibrate on, each float32 of shape (N, 3, H, W), typical of what it will see.
        symmetric: Whether feature maps are signed and have a zero point of 0, and biases stay float32, which TensorRT
            requires. ONNX Runtime takes longer for such a file on a CPU. Defaults to False.

    Returns:
        The content of the quantized model's file.

    Raises:
        UserError: If there are no images.

    Example:
        >>> import torch
        >>> from mmfasternet import FasterNet
        >>> from mmfasternet.deploy.export import to_onnx
        >>> model = to_onnx(FasterNet('t0').eval(), 'backbone', ()).SerializeToString()
        >>> small = quantize(model, [np.random.rand(1, 3, 64, 64).astype(np.float32)])
        >>> len(small) < 0.5 * len(model)
        True
    """
    images = iter(images)
    first = next(images, None)
    if first is None:
        raise UserError('int8 needs images to calibrate on, but got none')
    # ONNX Runtime advises pre-processing for every model, also for one that is pre-processed, as here.
    logging.getLogger().addFilter(_no_advice)
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, prepared, target = (Path(folder, name) for name in ('source.onnx', 'prepared.onnx', 'target.onnx'))
            source.write_bytes(model)
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                target,
                # One by one, so that a progress bar of the caller follows the calibration.
                _Images(chain([first], images)),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=['Conv'],
                per_channel=True,
                activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                reduce_range=True,
                extra_options=dict(ActivationSymmetric=symmetric, QuantizeBias=not symmetric),
            )
            return target.read_bytes()
    finally:
        logging.getLogger().removeFilter(_no_advice)


def _no_advice(record: logging.LogRecord) -> bool:
    return 'pre-processing before quantization' not in record.getMessage()
