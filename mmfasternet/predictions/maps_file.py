"""A detector in a file that ends at the maps of its head: boxes, scores and labels are made of them here."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mmfasternet.errors import UserError

from .dense import decoding_of
from .exported_file import ExportedFile, Value
from .sidecar import read_sidecar

__all__ = ['MapsFile', 'Network', 'open_maps_file']

#: Runs a network: pixels, float32 (1, 3, H, W), give its outputs without the dimension of images.
Network = Callable[[np.ndarray], Sequence[np.ndarray]]
# The largest side of an image.
_LARGEST = 2**14
_OUTPUTS = [
    Value('boxes', 'tensor(float)', [None, 4]),
    Value('scores', 'tensor(float)', [None]),
    Value('labels', 'tensor(int64)', [None]),
]


class MapsFile(ExportedFile):
    """A detector of ncnn or ExecuTorch that ``tools/export.py`` wrote, with its JSON.

    Args:
        path: The file.
        network: Opens the file; it is called after the JSON was read.

    Raises:
        UserError: If the file can't be read, or is another one.
    """

    def __init__(self, path: str | Path, network: Callable[[], Network]) -> None:
        content = read_sidecar(path)
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in content.items()}
        shape = content.get('shape')
        if not (
            isinstance(shape, list)
            and len(shape) == 2
            and all(type(side) is int and 0 < side <= _LARGEST for side in shape)
        ):
            raise UserError(f'{path}: the JSON beside it has no shape, [height, width]; export it again')
        super().__init__(path, texts, [Value('image', 'tensor(float)', [1, 3, *shape])], _OUTPUTS)
        try:
            self._decoding = decoding_of(content.get('decoding'))
        except ValueError as error:
            raise UserError(f'{path}: "decoding" in the JSON beside it: {error}; export it again') from error
        self._run_network = network()

    def infer(self, pixels: np.ndarray) -> list[np.ndarray]:
        return self._decoding(self._run_network(pixels), *pixels.shape[2:])


def open_maps_file(path: str | Path, threads: int | None = None) -> MapsFile:
    """Open a file of ncnn or ExecuTorch.

    Args:
        path: ``*.ncnn.param`` or ``*.pte``.
        threads: Threads of a run. None means as many as the runtime chooses. Defaults to None.

    Returns:
        The file.

    Raises:
        UserError: If its runtime is not installed, or it can't be read or is no detector.
    """

    def network() -> Network:
        # Imported here, since only the file's own runtime is needed.
        if Path(path).suffix == '.pte':
            from .executorch_network import ExecutorchNetwork

            return ExecutorchNetwork(path, threads)
        from .ncnn_network import NcnnNetwork

        return NcnnNetwork(path, threads)

    return MapsFile(path, network)
