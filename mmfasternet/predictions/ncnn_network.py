"""A network of ncnn: a file of layers, *.param, and one of weights, *.bin."""

from pathlib import Path

import numpy as np

from mmfasternet.errors import UserError

try:
    import ncnn
except ImportError as error:
    raise UserError(f'files of ncnn need the package ncnn ({error}): pip install ncnn') from error

__all__ = ['NcnnNetwork']


class NcnnNetwork:
    """A network of ncnn on the CPU, in float32. Several threads may run it at once.

    Args:
        path: The file of layers, ``*.param``; the weights are in ``*.bin`` beside it.
        threads: Threads of a run. None means as many as ncnn chooses. Defaults to None.

    Raises:
        UserError: If a file is missing or can't be read.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        weights = Path(path).with_suffix('.bin')
        for file in (Path(path), weights):
            if not file.is_file():
                raise UserError(f'{file} does not exist or is no file; export it by tools/export.py')
        self._net = ncnn.Net()
        options = self._net.opt
        # float16 and bfloat16 are other functions than the one that was compared with PyTorch.
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        if threads:
            options.num_threads = threads
        if self._net.load_param(str(path)) or self._net.load_model(str(weights)):
            raise UserError(f'{path} and {weights} cannot be read by ncnn; export them again by tools/export.py')
        # pnnx numbers them: out0, out1, …
        self._outputs = sorted(self._net.output_names(), key=lambda name: (len(name), name))

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Run the network on pixels, float32 (1, 3, H, W); gives its outputs (C, h, w)."""
        extractor = self._net.create_extractor()
        # A copy, since ncnn aligns the channels.
        extractor.input('in0', ncnn.Mat(np.ascontiguousarray(pixels[0])).clone())
        found = []
        for name in self._outputs:
            status, output = extractor.extract(name)
            if status:
                raise RuntimeError(f'ncnn gives no {name} (status {status}); memory may be short')
            found.append(np.array(output))
        return found
