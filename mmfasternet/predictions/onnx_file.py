"""A complete model in an ONNX file, open in ONNX Runtime."""

from pathlib import Path

import numpy as np

from mmfasternet.errors import UserError

from .exported_file import ExportedFile, Value, first_line

try:
    import onnxruntime
except ImportError as error:
    raise UserError(f'exported files need ONNX Runtime ({error}): pip install onnxruntime') from error

__all__ = ['OnnxFile']


class OnnxFile(ExportedFile):
    """A file that ``tools/export.py`` wrote, open in ONNX Runtime on the CPU.

    Args:
        path: The file.
        threads: Threads of a run. None means as many as ONNX Runtime chooses. Defaults to None.

    Raises:
        UserError: If it can't be read, or is another one.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        if not Path(path).is_file():
            raise UserError(f'{path} does not exist or is no file; export one by tools/export.py')
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is in the message below
        options.intra_op_num_threads = threads or 0
        try:
            # Without a fallback, which would print what is wrong, and try the same again.
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=['CPUExecutionProvider'], enable_fallback=0
            )
            texts = dict(self._session.get_modelmeta().custom_metadata_map)
            # Names that are no text, for one, are found only when they are read.
            inputs, outputs = (
                [Value(one.name, one.type, one.shape) for one in of]
                for of in (self._session.get_inputs(), self._session.get_outputs())
            )
        except Exception as error:  # ONNX Runtime's are of no common class
            raise UserError(f'{path} cannot be read as an ONNX model: {first_line(error)}') from error
        super().__init__(path, texts, inputs, outputs)

    def infer(self, pixels: np.ndarray) -> list[np.ndarray]:
        return self._session.run(self.names, {'image': pixels})
