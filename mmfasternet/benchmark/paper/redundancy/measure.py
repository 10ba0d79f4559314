"""Redundancy of feature maps: how similar the channels of an early layer are (Fig. 3)."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmfasternet.benchmark.measure.turns import progress_bar
from mmfasternet.benchmark.paper.experiment import Experiment
from mmfasternet.benchmark.paper.photographs import read_square
from mmfasternet.benchmark.paper.subject import RGBNetwork, Subject, digest, record_maps
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError

__all__ = ['Plan', 'best_correlations', 'measure_redundancy', 'shifted']

# Rows and columns of the channels that are shown, and the height and width of each in pixels.
_SHOWN, _TILE = (4, 10), 56


def best_correlations(maps: Tensor) -> np.ndarray:
    """For every channel of (channels, H, W) the largest |r| with any other, over positions; NaN for constant ones."""
    flat = maps.flatten(1).double()
    flat = flat - flat.mean(dim=1, keepdim=True)
    norms = torch.linalg.vector_norm(flat, dim=1)
    varies = norms > 1e-6 * maps.abs().max() * flat.shape[1] ** 0.5
    flat = flat[varies] / norms[varies, None]
    found = (flat @ flat.T).abs().fill_diagonal_(0)
    best = np.full(len(maps), np.nan)
    if len(flat) > 1:
        best[varies.numpy()] = found.amax(dim=1).clamp(max=1).numpy()
    return best


def shifted(maps: Tensor) -> Tensor:
    """Each map rolled by a random distance of its own, so that what similarity remains is chance."""
    generator = torch.Generator().manual_seed(0)
    _, height, width = maps.shape
    down = torch.randint(height, (len(maps),), generator=generator).tolist()
    right = torch.randint(width, (len(maps),), generator=generator).tolist()
    return torch.stack([one.roll(by, (0, 1)) for one, *by in zip(maps, down, right, strict=True)])


@dataclass(frozen=True)
class Plan:
    """What to look at.

    Args:
        photographs: Image files.
        layer: Name of the layer in the network. Defaults to 'layer1', the first stage of a ResNet.
        pixels: Height and width of the network's input. Defaults to 224.
    """

    photographs: Sequence[Path]
    layer: str = 'layer1'
    pixels: int = 224


def measure_redundancy(subject: Subject, plan: Plan, path: str | Path) -> Records:
    """Measure how similar the feature maps of a layer are, photograph by photograph.

    Args:
        subject: The network.
        plan: What to look at.
        path: File of records, see docs/records.md.

    Returns:
        The records, one for each photograph and kind of ``weights``, 'trained' and 'random'. The figures are
        ``channels``, ``constant`` (the number of feature maps that don't vary), ``best_correlations`` of the others,
        and ``best_correlations_shifted``, those by chance. The first also has ``photograph`` and ``maps``, the image
        and some of its feature maps, as PNG files in base64.

    Raises:
        UserError: If the network has no such layer, or the records are of another network.
    """
    experiment = Experiment('redundancy', Records.open(path))
    networks = {weights: subject.build(weights == 'trained') for weights in ('trained', 'random')}
    common = dict(
        network=subject.name,
        digest=digest(networks['trained'].state_dict()),
        layer=plan.layer,
        pixels=plan.pixels,
        photographs=[path.name for path in plan.photographs],
    )
    experiment.require(common)
    with progress_bar() as progress:
        for image in progress.track(plan.photographs, description='photographs'):
            for weights, network in networks.items():
                settings = dict(common, weights=weights)
                if experiment.find(image.name, settings):
                    continue
                pixels = read_square([image], plan.pixels)
                maps = _maps_of(network, pixels, plan.layer)
                figures = _figures_of(maps)
                if weights == 'trained' and image == plan.photographs[0]:
                    figures.update(photograph=_png(pixels[0].permute(1, 2, 0).numpy()), maps=_tiles(maps))
                experiment.add(image.name, image.stem.replace('_', ' '), settings, figures)
    return experiment.records


@torch.no_grad()
def _maps_of(network: RGBNetwork, image: Tensor, layer: str) -> Tensor:
    """The feature maps that a layer returns for one image: (channels, H, W)."""
    layers = dict(network.body.named_modules())
    if layer not in layers or not layer:
        names = ', '.join(name for name, _ in network.body.named_children())
        raise UserError(f'the network has no layer {layer!r}; it has {names}, and those inside them, such as a.0')
    seen: list[Any] = []
    with record_maps({layer: layers[layer]}, lambda name, x, y: seen.append(y)):
        network(image)
    if not (seen and isinstance(seen[0], Tensor) and seen[0].dim() == 4):
        raise UserError(
            f'layer {layer} does not return a feature map of shape (N, channels, H, W); choose another with --layer'
        )
    return seen[0][0]


def _figures_of(maps: Tensor) -> dict[str, Any]:
    best, by_chance = best_correlations(maps), best_correlations(shifted(maps))
    return dict(
        channels=len(maps),
        height=maps.shape[1],
        width=maps.shape[2],
        constant=int(np.isnan(best).sum()),
        best_correlations=best[~np.isnan(best)].round(4).tolist(),
        best_correlations_shifted=by_chance[~np.isnan(by_chance)].round(4).tolist(),
    )


def _tiles(maps: Tensor) -> str:
    """The first channels side by side, each from its own darkest to its own brightest."""
    rows, columns = _SHOWN
    sheet = np.full((rows * _TILE, columns * _TILE), 255, dtype=np.uint8)
    for index, one in enumerate(maps[: rows * columns].numpy()):
        span = one.max() - one.min()
        grey = np.uint8(255 * (one - one.min()) / span) if span > 0 else np.zeros(one.shape, dtype=np.uint8)
        row, column = divmod(index, columns)
        tile = Image.fromarray(grey).resize((_TILE - 2, _TILE - 2), Image.Resampling.BILINEAR)
        sheet[row * _TILE : row * _TILE + _TILE - 2, column * _TILE : column * _TILE + _TILE - 2] = tile
    return _png(sheet)


def _png(pixels: np.ndarray) -> str:
    """An image as a PNG file in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'png', optimize=True)
    return base64.b64encode(file.getvalue()).decode()
