"""A complete model in an ONNX file or an OpenVINO IR, open in OpenVINO."""

import threading
from pathlib import Path

import numpy as np

from mmfasternet.benchmark.measure.openvino_core import openvino_core
from mmfasternet.errors import UserError
from mmfasternet.predictions.exported_file import ExportedFile, Value

__all__ = ['OpenvinoFile']

# Precision → OpenVINO's name of it; an int8 file is fp32 in what is not quantized.
_HINTS = dict(fp32='f32', bf16='bf16')
# OpenVINO's name of a type → ONNX Runtime's.
_TYPES = dict(f32='tensor(float)', i64='tensor(int64)', boolean='tensor(bool)')


class OpenvinoFile(ExportedFile):
    """A file that ``tools/export.py`` wrote, or its OpenVINO IR, open in OpenVINO on the CPU.

    Args:
        path: The file, ``*.onnx``, or ``*.xml`` with its weights in ``*.bin``.
        precision: 'fp32' or 'bf16'; OpenVINO takes another one, without a word, where the CPU lacks it.
        threads: Threads in all.
        streams: Whether images run beside each other, each on one thread.

    Raises:
        UserError: If OpenVINO is not installed, or the file can't be read or is another one.
    """

    def __init__(self, path: str | Path, precision: str, threads: int, streams: bool) -> None:
        core = openvino_core()
        if not Path(path).is_file():
            raise UserError(f'{path} does not exist or is no file; export one by tools/export.py')
        options = dict(
            INFERENCE_PRECISION_HINT=_HINTS[precision],
            INFERENCE_NUM_THREADS=threads,
            PERFORMANCE_HINT='THROUGHPUT' if streams else 'LATENCY',
            NUM_STREAMS=threads if streams else 1,
        )
        try:
            model = core.read_model(str(path))
            facts = dict(model.rt_info.items()).get('framework', {})
            texts = {key: value if isinstance(value, str) else value.astype(str) for key, value in facts.items()}
            inputs, outputs = ([_value(port) for port in ports] for ports in (model.inputs, model.outputs))
            #: OpenVINO's model, which can be asked what it computes in.
            self.compiled = core.compile_model(model, 'CPU', options)
        except RuntimeError as error:
            # The first lines are where it is in OpenVINO's source.
            lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            raise UserError(f'{path} cannot be read by OpenVINO: {lines[-1][:300]}') from error
        self._requests = threading.local()
        super().__init__(path, texts, inputs, outputs)

    def infer(self, pixels: np.ndarray) -> list[np.ndarray]:
        # Threads that share a request would wait for each other.
        if not hasattr(self._requests, 'own'):
            self._requests.own = self.compiled.create_infer_request()
        found = self._requests.own.infer({'image': pixels}, share_inputs=True)
        return [found[name] for name in self.names]


def _value(port: object) -> Value:
    """An input or output in ONNX Runtime's terms."""
    shape = [side.get_length() if side.is_static else None for side in port.partial_shape]
    kind = port.element_type.get_type_name()
    return Value(port.any_name, _TYPES.get(kind, kind), shape)
