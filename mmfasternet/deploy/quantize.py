"""An exported model's convolutions in int8."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from mmfasternet.errors import UserError

try:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
except ImportError as error:
    raise UserError(f'int8 needs onnx and onnxruntime ({error}): pip install mmfasternet[export]') from error

__all__ = ['quantize']


class Images(CalibrationDataReader):
    """What ONNX Runtime's calibration reads."""

    def __init__(self, images: Iterable[np.ndarray]) -> None:
        self.images: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else dict(image=image)


def quantize(model: bytes, images: Iterable[np.ndarray]) -> bytes:
    """Quantize the convolutions of an exported model to int8, with QuantizeLinear and DequantizeLinear around them.

    Weights get a scale for each output channel; the ranges of maps are those that the images have. All else stays
    float32: fully connected layers of a box head are a small part of the time, and boxes and scores need their digits.
    The file runs in whatever knows these two operators of ONNX.

    Args:
        model: ONNX, as tools/export.py writes it.
        images: Inputs of the model, each float32 of shape (N, 3, H, W), such as it will see.

    Returns:
        The quantized model, as ONNX.

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
    images = list(images)
    if not images:
        raise UserError('int8 needs pictures to calibrate on, but got none')
    # It says for every model that it should be pre-processed, which is what is done here.
    logging.getLogger().addFilter(no_advice)
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, prepared, target = (Path(folder, name) for name in ('source.onnx', 'prepared.onnx', 'target.onnx'))
            source.write_bytes(model)
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                target,
                Images(images),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=['Conv'],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            return target.read_bytes()
    finally:
        logging.getLogger().removeFilter(no_advice)


def no_advice(record: logging.LogRecord) -> bool:
    return 'pre-processing before quantization' not in record.getMessage()
