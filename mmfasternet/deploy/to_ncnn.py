"""A network as the two files of ncnn, by pnnx."""

import warnings
from pathlib import Path
from subprocess import PIPE, STDOUT

import torch
from torch import Tensor, nn

from mmfasternet.engine.processes import started
from mmfasternet.errors import UserError

try:
    import ncnn  # noqa: F401, the files are compared in it
    import pnnx
except ImportError as error:
    raise UserError(f'the export to ncnn needs ncnn and pnnx ({error}): pip install mmfasternet[ncnn]') from error

__all__ = ['to_ncnn']


def to_ncnn(network: nn.Module, image: Tensor, path: Path) -> list[Path]:
    """Convert a network.

    Args:
        network: In evaluation mode, on the CPU; it takes an image and gives a tuple of tensors. No two places hold the
            same module, of which pnnx finds the weights at one alone.
        image: Of the size that the file is for.
        path: The file of layers to write, ``*.ncnn.param``, in a folder of its own: pnnx writes more files there.

    Returns:
        The files of layers and of weights.

    Raises:
        UserError: If pnnx fails, or ncnn lacks an operator of the network.
    """
    stem = path.name.removesuffix('.ncnn.param')
    traced = path.with_name(f'{stem}.pt')
    with warnings.catch_warnings(), torch.no_grad():
        # pnnx reads no other form.
        warnings.simplefilter('ignore')
        torch.jit.trace(network, image, check_trace=False).save(traced)
    sizes = ','.join(map(str, image.shape))
    words = [pnnx.EXEC_PATH, traced.name, f'inputshape=[{sizes}]', 'fp16=0']
    with started(words, cwd=path.parent, stdout=PIPE, stderr=STDOUT, text=True, errors='replace') as process:
        said, _ = process.communicate()
    files = [path, path.with_suffix('.bin')]
    if process.returncode or not all(file.is_file() for file in files):
        reason = (said.strip().splitlines() or ['nothing'])[-1]
        raise UserError(f'pnnx cannot convert this model (status {process.returncode}): {reason[:300]}')
    # What pnnx finds no layer for keeps its name in torch.
    kinds = (line.split()[0] for line in path.read_text().splitlines()[2:] if line.strip())
    if unknown := sorted({kind for kind in kinds if not kind.isalnum()}):
        raise UserError(f'ncnn has no layer for {", ".join(unknown)} of this model')
    return files
