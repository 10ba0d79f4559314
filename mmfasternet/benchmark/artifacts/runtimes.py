"""The runtimes that open a detector's file, and what all of them give: the objects in an image.

Nothing in this file imports torch, so that what a process of its own takes is what a user's takes.
"""

from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Protocol

import numpy as np

from mmfasternet.errors import UserError
from mmfasternet.predictions.onnx_predictors import Objects

__all__ = ['RUNTIMES', 'Detector', 'Runtime', 'open_detector', 'runtimes_of']


class Detector(Protocol):
    """A detector that is ready to run.

    Attributes:
        classes: Names of the labels.
    """

    classes: list[str]

    def __call__(self, image: np.ndarray) -> Objects:
        """The objects in an image: blue, green and red of its decoded pixels, uint8 (H, W, 3); all scores are kept."""


@dataclass(frozen=True)
class Runtime:
    """A way to run a file.

    Args:
        label: What tables call it.
        package: The Python package that it is.
        endings: Of the names of files that it takes.
        precision: 'fp32' or 'bf16', which it is asked to compute in.
        streams: Whether images run beside each other, each on one thread, and not one by one on all threads.
    """

    label: str
    package: str
    endings: tuple[str, ...]
    precision: str = 'fp32'
    streams: bool = False

    @property
    def version(self) -> str:
        """The package and its version; raises a UserError if it is not installed."""
        try:
            module = import_module(self.package)
        except ImportError as error:
            raise UserError(
                f'{self.label} is not installed ({error}): pip install {self.package}, or name others by --runtimes'
            ) from error
        # A package without an __init__ has no version of its own.
        found = getattr(module, '__version__', None) or metadata.version(self.package)
        return f'{self.package} {found.partition("-")[0]}'


_BY_OPENVINO = ('.onnx', '.xml')
#: Name → runtime. PyTorch's is the reference.
RUNTIMES = {
    'pytorch': Runtime('PyTorch', 'torch', ('.pth',)),
    'onnxruntime': Runtime('ONNX Runtime', 'onnxruntime', ('.onnx',)),
    'openvino': Runtime('OpenVINO f32', 'openvino', _BY_OPENVINO),
    'openvino-bf16': Runtime('OpenVINO bf16', 'openvino', _BY_OPENVINO, precision='bf16'),
    'openvino-streams': Runtime('OpenVINO f32, streams', 'openvino', _BY_OPENVINO, streams=True),
    'ncnn': Runtime('ncnn', 'ncnn', ('.param',)),
    'executorch': Runtime('ExecuTorch', 'executorch', ('.pte',)),
}


def runtimes_of(path: str | Path) -> list[str]:
    """The runtimes that take a file.

    Args:
        path: The file.

    Returns:
        Their names.

    Raises:
        UserError: If none does, going by the ending of its name.

    Example:
        >>> runtimes_of('detector.xml')
        ['openvino', 'openvino-bf16', 'openvino-streams']
    """
    ending = Path(path).suffix.lower()
    found = [name for name, runtime in RUNTIMES.items() if ending in runtime.endings]
    if not found:
        raise UserError(
            f'{path} is none of *.onnx, *.ncnn.param and *.pte, which tools/export.py writes, *.xml, an OpenVINO IR of '
            'the first, and *.pth, a checkpoint'
        )
    return found


def open_detector(name: str, path: str | Path, config: str | Path, threads: int) -> Detector:
    """Open a file in a runtime.

    Args:
        name: One of ``RUNTIMES``.
        path: The file.
        config: Its config, which only a checkpoint needs.
        threads: Threads on the CPU.

    Returns:
        The detector.

    Raises:
        UserError: If the runtime is not installed, or the file can't be read or is no complete detector.
    """
    runtime = RUNTIMES[name]
    # Imported here, since a process loads what it runs alone.
    if name == 'pytorch':
        from .checkpoint import CheckpointDetector

        return CheckpointDetector(path, config)
    from .exported import ExportedDetector

    if name == 'onnxruntime':
        from mmfasternet.predictions.onnx_file import OnnxFile

        return ExportedDetector(OnnxFile(path, threads))
    if name in ('ncnn', 'executorch'):
        from mmfasternet.predictions.maps_file import open_maps_file

        return ExportedDetector(open_maps_file(path, threads))
    from .openvino_file import OpenvinoFile

    return ExportedDetector(OpenvinoFile(path, runtime.precision, threads, runtime.streams))
