"""Redundancy of feature maps: how much the channels of an early layer are like each other (Fig. 3)."""

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

from mmfasternet.benchmark.measure.latency import progress_bar
from mmfasternet.benchmark.paper.photographs import read_square
from mmfasternet.benchmark.paper.records import StudyFile
from mmfasternet.benchmark.paper.subject import Network, Subject, digest, record_maps
from mmfasternet.errors import UserError

__all__ = ['Plan', 'best_correlations', 'measure_redundancy', 'shifted']

# The channels that are shown, in rows and columns, each of the height and width in pixels.
SHOWN, TILE = (4, 10), 56


def best_correlations(maps: Tensor) -> np.ndarray:
    """For every channel the largest absolute correlation, over positions, with any other channel.

    Args:
        maps: Feature maps of shape (channels, H, W).

    Returns:
        Pearson's |r|, 0 to 1, of the channels that are not constant; NaN of the others.

    Example:
        >>> a, b = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[1.0, -1.0, -1.0, 1.0]])
        >>> best_correlations(torch.stack([a, -2 * a, b, torch.ones(1, 4)])).round(3).tolist()
        [1.0, 1.0, 0.0, nan]
    """
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
    """The same maps, each rolled by a random distance of its own: what is left of their likeness is chance.

    Args:
        maps: Feature maps of shape (channels, H, W).

    Returns:
        Maps of the same shape; the same distances for the same shape.

    Example:
        >>> shifted(torch.arange(8.0).view(2, 2, 2)).sum(dim=(1, 2)).tolist()
        [6.0, 22.0]
    """
    generator = torch.Generator().manual_seed(0)
    _, height, width = maps.shape
    down = torch.randint(height, (len(maps),), generator=generator).tolist()
    right = torch.randint(width, (len(maps),), generator=generator).tolist()
    return torch.stack([one.roll(by, (0, 1)) for one, *by in zip(maps, down, right, strict=True)])


@dataclass(frozen=True)
class Plan:
    """What is looked at.

    Args:
        photographs: Picture files.
        layer: Name of the layer in the network. Defaults to 'layer1', the first stage of a ResNet.
        pixels: Height and width of the network's input. Defaults to 224.
    """

    photographs: Sequence[Path]
    layer: str = 'layer1'
    pixels: int = 224


def measure_redundancy(subject: Subject, plan: Plan, out: str | Path) -> dict:
    """Measure how much the maps of a layer are like each other, photograph by photograph.

    Args:
        subject: The network.
        plan: What is looked at.
        out: File of records, see docs/records.md.

    Returns:
        The document: a record for each photograph and kind of ``weights``, 'trained' and 'random'. Its figures are
        ``channels``, ``constant``, the number of maps that don't vary, ``best_correlations`` of the others, and
        ``best_correlations_shifted`` as chance has them. The first has ``photograph`` and ``maps`` too, the picture and
        some of its maps, as PNG files in base64.

    Raises:
        UserError: If the network has no such layer, or the file of records is of another network.
    """
    file = StudyFile(out, 'redundancy')
    networks = {weights: subject.build(weights == 'trained') for weights in ('trained', 'random')}
    common = dict(
        network=subject.name,
        digest=digest(networks['trained'].state_dict()),
        layer=plan.layer,
        pixels=plan.pixels,
        photographs=[path.name for path in plan.photographs],
    )
    file.require(common)
    with progress_bar() as progress:
        for path in progress.track(plan.photographs, description='photographs'):
            for weights, network in networks.items():
                settings = dict(common, weights=weights)
                if file.find(path.name, settings):
                    continue
                picture = read_square([path], plan.pixels)
                maps = maps_of(network, picture, plan.layer)
                figures = figures_of(maps)
                if weights == 'trained' and path == plan.photographs[0]:
                    figures.update(photograph=png(picture[0].permute(1, 2, 0).numpy()), maps=tiles(maps))
                file.add(path.name, path.stem.replace('_', ' '), settings, figures)
    return file.document


@torch.no_grad()
def maps_of(network: Network, picture: Tensor, layer: str) -> Tensor:
    """What a layer puts out for one picture: (channels, H, W)."""
    layers = dict(network.body.named_modules())
    if layer not in layers or not layer:
        names = ', '.join(name for name, _ in network.body.named_children())
        raise UserError(f'the network has no layer {layer!r}; it has {names}, and those inside of them, such as a.0')
    seen: list[Any] = []
    with record_maps({layer: layers[layer]}, lambda name, x, y: seen.append(y)):
        network(picture)
    if not (seen and isinstance(seen[0], Tensor) and seen[0].dim() == 4):
        raise UserError(f'layer {layer} does not put out a map of shape (N, channels, H, W); name another with --layer')
    return seen[0][0]


def figures_of(maps: Tensor) -> dict[str, Any]:
    best, by_chance = best_correlations(maps), best_correlations(shifted(maps))
    return dict(
        channels=len(maps),
        height=maps.shape[1],
        width=maps.shape[2],
        constant=int(np.isnan(best).sum()),
        best_correlations=best[~np.isnan(best)].round(4).tolist(),
        best_correlations_shifted=by_chance[~np.isnan(by_chance)].round(4).tolist(),
    )


def tiles(maps: Tensor) -> str:
    """The first channels side by side, each from its own darkest to its own brightest."""
    rows, columns = SHOWN
    sheet = np.full((rows * TILE, columns * TILE), 255, dtype=np.uint8)
    for index, one in enumerate(maps[: rows * columns].numpy()):
        span = one.max() - one.min()
        grey = np.uint8(255 * (one - one.min()) / span) if span > 0 else np.zeros(one.shape, dtype=np.uint8)
        row, column = divmod(index, columns)
        tile = Image.fromarray(grey).resize((TILE - 2, TILE - 2), Image.Resampling.BILINEAR)
        sheet[row * TILE : row * TILE + TILE - 2, column * TILE : column * TILE + TILE - 2] = tile
    return png(sheet)


def png(pixels: np.ndarray) -> str:
    """A picture as a PNG file in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'png', optimize=True)
    return base64.b64encode(file.getvalue()).decode()
