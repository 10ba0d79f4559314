"""A network as a program of ExecuTorch, which XNNPACK computes on the CPUs of phones."""

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from mmfasternet.errors import UserError

try:
    with warnings.catch_warnings():
        # torchao uses what torch is about to change.
        warnings.simplefilter('ignore')
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
except ImportError as error:
    raise UserError(
        f'the export to ExecuTorch needs executorch ({error}): pip install mmfasternet[executorch]'
    ) from error

__all__ = ['to_executorch']


def to_executorch(network: nn.Module, image: Tensor, path: Path) -> list[Path]:
    """Convert a network.

    Args:
        network: In evaluation mode, on the CPU; it takes an image and gives a tuple of tensors. Its batch norms are
            folded: of several after one convolution, ExecuTorch folds all into the same weights.
        image: Of the size that the file is for.
        path: The file to write, ``*.pte``.

    Returns:
        The file.

    Raises:
        UserError: If torch or ExecuTorch can't convert it.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')
            exported = torch.export.export(network, (image,))
            program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    except Exception as error:  # those of torch.export and of ExecuTorch are of no common class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f'ExecuTorch cannot convert this model: {reason[:300]}') from error
    finally:
        logging.disable(level)
    path.write_bytes(program.buffer)
    return [path]
