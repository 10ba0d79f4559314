"""The convolutions of an exported model in int8, all of them or all but some."""

import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from mmfasternet.errors import UserError

try:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QDQQuantizer,
        QuantType,
        TensorsData,
        create_calibrator,
        quant_pre_process,
    )
except ImportError as error:
    raise UserError(f'int8 needs onnx and onnxruntime ({error}): pip install mmfasternet[export]') from error

__all__ = ['WEIGHT_BITS', 'Quantizer', 'quantize']

# x86 CPUs without VNNI add two products of a value (8 bits) and a weight in 16 bits. With weights of 8 bits the sum can
# saturate; with 7 bits, 2 · 255 · 64, it fits.
WEIGHT_BITS = 7
_CONVOLUTION = ['Conv']


class Quantizer:
    """An exported model, calibrated once, of which any convolutions can be quantized.

    Args:
        model: The content of an ONNX file that tools/export.py wrote.
        images: Inputs of the model to calibrate on, each float32 of shape (N, 3, H, W), typical of what it will see.
        symmetric: As in :func:`quantize`. Defaults to False.

    Raises:
        UserError: If there are no images.
    """

    def __init__(self, model: bytes, images: Iterable[np.ndarray], symmetric: bool = False) -> None:
        self._symmetric = symmetric
        layers = defaultdict(list)
        for node in onnx.load_model_from_string(model).graph.node:
            if node.op_type == 'Conv':
                layers[node.input[1].removesuffix('.weight')].append(node.name)
        #: Name of a layer, that of its weights → its nodes; a head that all levels share has one for each.
        self.layers = dict(layers)
        images = iter(images)
        first = next(images, None)
        if first is None:
            raise UserError('int8 needs images to calibrate on, but got none')
        with tempfile.TemporaryDirectory() as folder:
            source, prepared, inferred = (Path(folder, f'{name}.onnx') for name in ('source', 'prepared', 'inferred'))
            source.write_bytes(model)
            # It folds what is constant, and batch norms.
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            onnx.shape_inference.infer_shapes_path(str(prepared), str(inferred))
            #: The model in float32 as it is quantized.
            self.prepared = inferred.read_bytes()
            # One by one, so that a progress bar of the caller follows the calibration.
            self._ranges = _calibrate(prepared, chain([first], images), str(Path(folder, 'augmented.onnx')))

    def quantized(self, kept: Collection[str] = ()) -> bytes:
        """The content of a file with all convolutions in int8 except for those of some layers.

        Args:
            kept: Names of the layers that stay float32. Defaults to none.

        Returns:
            The content.
        """
        quantizer = QDQQuantizer(
            onnx.load_model_from_string(self.prepared),
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if self._symmetric else QuantType.QUInt8,
            tensors_range=self._ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=[node for name in kept for node in self.layers[name]],
            op_types_to_quantize=_CONVOLUTION,
            extra_options=dict(ActivationSymmetric=self._symmetric, QuantizeBias=not self._symmetric),
        )
        quantizer.quantize_model()
        # What is quantized stands last, after the nodes that read it, which ONNX forbids.
        quantizer.model.topological_sort()
        return quantizer.model.model.SerializeToString()


class _Images(CalibrationDataReader):
    """The inputs that ONNX Runtime's calibration reads."""

    def __init__(self, images: Iterable[np.ndarray]) -> None:
        self.images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else dict(image=image)


def _calibrate(model: Path, images: Iterable[np.ndarray], augmented: str) -> TensorsData:
    """The smallest and the largest value of each feature map around a convolution."""
    calibrator = create_calibrator(model, _CONVOLUTION, augmented_model_path=augmented)
    calibrator.collect_data(_Images(images))
    return calibrator.compute_data()


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
        >>> model = to_onnx(FasterNet('t0').eval()).SerializeToString()
        >>> small = quantize(model, [np.random.rand(1, 3, 64, 64).astype(np.float32)])
        >>> len(small) < 0.5 * len(model)
        True
    """
    return Quantizer(model, images, symmetric).quantized()
