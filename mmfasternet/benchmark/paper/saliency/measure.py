"""The T shape: at which of its nine positions a 3×3 filter has the largest norm (Sec. 3.3 and Fig. 6)."""

from pathlib import Path

import torch
from torch import Tensor

from mmfasternet.benchmark.paper.experiment import Experiment
from mmfasternet.benchmark.paper.subject import digest
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError
from mmfasternet.weights.reader import read_checkpoint
from mmfasternet.weights.state_dict import StateDict, unwrap

__all__ = ['filters_of', 'measure_saliency', 'position_norms', 'salient_counts']


def filters_of(state_dict: StateDict) -> StateDict:
    """The weights of the 3×3 convolutions that mix channels, those of the backbone if the file has one, by key."""
    found = {
        key: value
        for key, value in state_dict.items()
        if value.dim() == 4 and value.shape[2:] == (3, 3) and value.shape[1] > 1
    }
    return {key: value for key, value in found.items() if 'backbone.' in key} or found


def position_norms(weight: Tensor) -> Tensor:
    """The Frobenius norm of each position of each filter, over its channels (Sec. 3.3): (filters, 9), row by row."""
    return torch.linalg.vector_norm(weight.double(), dim=1).flatten(1)


def salient_counts(weight: Tensor) -> list[int]:
    """How many filters have their largest norm at each of the nine positions; a filter of zeros has none."""
    norms = position_norms(weight)
    salient = norms[norms.amax(dim=1) > 0].argmax(dim=1)
    return torch.bincount(salient, minlength=9).tolist()


def measure_saliency(checkpoint: str | Path, label: str, path: str | Path) -> Records:
    """Count the salient positions of every layer of a checkpoint, and of random filters of the same shapes.

    Args:
        checkpoint: Path or http(s) URL of the weights of any model.
        label: What the page calls them.
        path: File of records, see docs/records.md.

    Returns:
        The records, one for each layer and kind of ``weights``, 'trained' and 'random', the latter drawn from a normal
        distribution with seed 0. The figures are ``filters`` and ``channels`` of the weight, ``salient``, the nine
        counts, and ``mean_norms``, the share of each position in a filter's norms, averaged over filters.

    Raises:
        CheckpointError: If the checkpoint can't be read.
        UserError: If it has no 3×3 convolution, or the records are of other weights.
    """
    layers = filters_of(unwrap(read_checkpoint(checkpoint), str(checkpoint)))
    if not layers:
        raise UserError(
            f'{checkpoint} has no 3×3 convolution over more than one channel; give the checkpoint of a network that has'
        )
    experiment = Experiment('saliency', Records.open(path))
    common = dict(network=label, digest=digest(layers))
    experiment.require(common)
    generator = torch.Generator().manual_seed(0)
    for key, trained in layers.items():
        random = torch.randn(trained.shape, generator=generator)
        for weights, values in dict(trained=trained, random=random).items():
            settings = dict(common, weights=weights)
            if not experiment.find(key, settings):
                experiment.add(key, key.removesuffix('.weight'), settings, _figures_of(values))
    return experiment.records


def _figures_of(weight: Tensor) -> dict:
    norms = position_norms(weight)
    norms = norms[norms.amax(dim=1) > 0]
    shares = norms / norms.sum(dim=1, keepdim=True)
    return dict(
        filters=weight.shape[0],
        channels=weight.shape[1],
        salient=salient_counts(weight),
        mean_norms=[round(value, 4) for value in shares.mean(dim=0).tolist()] if len(shares) else [0.0] * 9,
    )
