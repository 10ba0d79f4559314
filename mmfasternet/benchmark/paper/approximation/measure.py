"""How well two cheap convolutions approximate a regular one (Sec. 4.1 and Table 2)."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mmfasternet.benchmark.measure.turns import progress_bar
from mmfasternet.benchmark.paper.experiment import Experiment
from mmfasternet.benchmark.paper.photographs import read_square
from mmfasternet.benchmark.paper.subject import RGBNetwork, Subject, digest, record_maps
from mmfasternet.benchmark.paper.width import width_for
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError
from mmfasternet.models import PConv

__all__ = ['APPROXIMATORS', 'Maps', 'Plan', 'first_convs', 'fit', 'flops_per_position', 'measure_approximation']

_GROUPS = 16
_STAGES = 4
# Images per step of a fit, and Adam's first learning rate, which a cosine takes to 0.
_BATCH, _LEARNING_RATE = 10, 0.01


@dataclass(frozen=True)
class _Approximator:
    """Two convolutions in place of one, built for channels of input and output; ``name`` is its column of Table 2."""

    name: str
    label: str
    build: Callable[[int, int], nn.Module]


class _WidenedDWConv(nn.Module):
    """A depthwise 3×3 convolution that reads some channels twice to return more of them (Sec. 3.1)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.register_buffer('source', torch.arange(width) % channels, persistent=False)
        self.depthwise = _spatial(width, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        return self.depthwise(x[:, self.source])


def _spatial(channels: int, groups: int) -> nn.Module:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)


def _then_pwconv(spatial: nn.Module, width: int, out_channels: int) -> nn.Module:
    return nn.Sequential(spatial, nn.Conv2d(width, out_channels, 1, bias=False))


def _widened_dwconv_pwconv(channels: int, out_channels: int) -> nn.Module:
    """As wide as brings it nearest to the multiply-adds of PConv + PWConv."""
    target = flops_per_position(_then_pwconv(PConv(channels), channels, out_channels))
    width = width_for(target, lambda width: (9 + out_channels) * width)
    return _then_pwconv(_WidenedDWConv(channels, width), width, out_channels)


def _gconv_pwconv(channels: int, out_channels: int) -> nn.Module:
    if channels % _GROUPS:
        raise UserError(
            f'{_GROUPS} groups do not divide the {channels} channels of a layer; choose a network whose channels are '
            f'multiples of {_GROUPS}'
        )
    return _then_pwconv(_spatial(channels, _GROUPS), channels, out_channels)


APPROXIMATORS = (
    _Approximator('dwconv_pwconv', 'DWConv + PWConv', lambda c, out: _then_pwconv(_spatial(c, groups=c), c, out)),
    _Approximator('dwconv_pwconv_widened', 'DWConv widened + PWConv', _widened_dwconv_pwconv),
    _Approximator('gconv16_pwconv', f'GConv ({_GROUPS} groups) + PWConv', _gconv_pwconv),
    _Approximator('pconv_pwconv', 'PConv + PWConv', lambda c, out: _then_pwconv(PConv(c), c, out)),
)


def flops_per_position(module: nn.Module) -> int:
    """Multiply-adds per position of a feature map, of convolutions of stride 1 without biases: each weight once."""
    return sum(parameter.numel() for parameter in module.parameters())


@dataclass(frozen=True)
class Plan:
    """What to fit.

    Args:
        images: Image files.
        seeds: Each splits the images and draws the first weights once. Defaults to (0, 1, 2).
        pixels: Height and width of the network's input. Defaults to 192.
        epochs: Passes over the training images of each fit. Defaults to 60.

    Raises:
        UserError: If there are fewer than ten images, or no seed or epoch.
    """

    images: Sequence[Path]
    seeds: tuple[int, ...] = (0, 1, 2)
    pixels: int = 192
    epochs: int = 60

    def __post_init__(self) -> None:
        if len(self.images) < 10:
            raise UserError(f'at least 10 images are needed for a split of 70/10/20, but there are {len(self.images)}')
        if not self.seeds or self.epochs < 1:
            raise UserError('at least one seed and one epoch are needed')


@dataclass(frozen=True)
class Maps:
    """Input (N, C, H, W) and output (N, C', H, W) of a convolution."""

    inputs: Tensor
    outputs: Tensor

    def split(self, seed: int) -> tuple['Maps', 'Maps', 'Maps']:
        """Training, validation and test: 70 %, 10 % and 20 % of the images, drawn by the seed."""
        order = torch.randperm(len(self.inputs), generator=torch.Generator().manual_seed(seed))
        train, val = round(0.7 * len(order)), round(0.8 * len(order))
        return tuple(Maps(self.inputs[part], self.outputs[part]) for part in order.tensor_split([train, val]))

    def batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and outputs in this order, batch by batch."""
        for part in order.split(_BATCH):
            yield self.inputs[part], self.outputs[part]


def measure_approximation(subject: Subject, plan: Plan, path: str | Path) -> Records:
    """Fit every approximator to the first stride-1 3×3 convolution of every stage, with every seed.

    Input and output are those of the convolution itself, before the norm and the activation that follow. Every finished
    fit is saved at once.

    Args:
        subject: The network.
        plan: What to fit.
        path: File of records, see docs/records.md.

    Returns:
        The records, one for each approximator, stage and seed. The figures are ``mse`` on the test images and
        ``val_mse``, in squared units of the feature maps, ``variance`` of the test maps around each channel's mean,
        ``flops`` (multiply-adds) per position, ``target_flops`` of the convolution, and ``channels``, ``height`` and
        ``width``.

    Raises:
        UserError: If the network has no such convolution, or the records are of another network or budget.
    """
    network = subject.build()
    first = read_square(plan.images[:1], plan.pixels)
    experiment = Experiment('approximation', Records.open(path))
    common = dict(
        network=subject.name,
        digest=digest(network.state_dict()),
        images=len(plan.images),
        # Under its name of version 1, so that a file of that version is resumed.
        first_image=digest(dict(picture=first)),
        pixels=plan.pixels,
        epochs=plan.epochs,
    )
    experiment.require(common)
    layers = first_convs(network, first)
    missing = [
        (settings, approximator)
        for seed in plan.seeds
        for stage, layer in layers.items()
        for settings in [dict(common, seed=seed, stage=stage, layer=layer)]
        for approximator in APPROXIMATORS
        if not experiment.find(approximator.name, settings)
    ]
    with progress_bar() as progress:
        maps = _record_images(network, layers, plan, progress.track) if missing else {}
        for settings, approximator in progress.track(missing, description='fits'):
            figures = _fit_approximator(approximator, maps[settings['stage']], settings['seed'], plan.epochs)
            experiment.add(approximator.name, approximator.label, settings, figures)
    return experiment.records


@torch.no_grad()
def first_convs(network: RGBNetwork, image: Tensor) -> dict[int, str]:
    """Stage → the first regular 3×3 convolution of stride 1 at each of the four smallest sizes of a feature map."""
    regular = dict(kernel_size=(3, 3), stride=(1, 1), dilation=(1, 1), groups=1, padding=(1, 1), padding_mode='zeros')
    convs = {
        name: module
        for name, module in network.body.named_modules()
        if isinstance(module, nn.Conv2d) and all(getattr(module, key) == value for key, value in regular.items())
    }
    first: dict[int, str] = {}
    with record_maps(convs, lambda name, x, y: first.setdefault(y.shape[2] * y.shape[3], name)):
        network(image)
    if not first:
        raise UserError('the network has no regular 3×3 convolution of stride 1 to approximate; choose another')
    return dict(enumerate((first[size] for size in sorted(first, reverse=True)[-_STAGES:]), start=1))


@torch.no_grad()
def _record_images(network: RGBNetwork, layers: dict[int, str], plan: Plan, track: Callable) -> dict[int, Maps]:
    """Input and output of the layers for all images."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers.values()}
    modules = {name: network.body.get_submodule(name) for name in seen}
    # A bias is not approximated: the approximators have none.
    biases = {name: 0 if module.bias is None else module.bias.view(-1, 1, 1) for name, module in modules.items()}

    def keep(name: str, x: Tensor, y: Tensor) -> None:
        # Both are copies, since the next module may work in place.
        seen[name].append((x.clone(), y - biases[name]))

    with record_maps(modules, keep):
        for start in track(range(0, len(plan.images), _BATCH), description='feature maps of the images'):
            network(read_square(plan.images[start : start + _BATCH], plan.pixels))
    return {stage: Maps(*map(torch.cat, zip(*seen[name], strict=True))) for stage, name in layers.items()}


def _fit_approximator(approximator: _Approximator, maps: Maps, seed: int, epochs: int) -> dict:
    _, channels, height, width = maps.inputs.shape
    out_channels = maps.outputs.shape[1]
    torch.manual_seed(seed)
    module = approximator.build(channels, out_channels)
    train, val, test = maps.split(seed)
    val_mse, mse = fit(module, train, val, test, epochs)
    return dict(
        mse=mse,
        val_mse=val_mse,
        variance=test.outputs.var(dim=(0, 2, 3), correction=0).mean().item(),
        flops=flops_per_position(module),
        target_flops=9 * channels * out_channels,
        channels=channels,
        height=height,
        width=width,
    )


def fit(module: nn.Module, train: Maps, val: Maps, test: Maps, epochs: int) -> tuple[float, float]:
    """Train a module to map inputs to outputs, keep its best weights on ``val``; the MSE on ``val`` and on ``test``."""
    steps = epochs * -(-len(train.inputs) // _BATCH)
    optimizer = torch.optim.Adam(module.parameters(), _LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, weights = float('inf'), module.state_dict()
    for _ in range(epochs):
        for inputs, outputs in train.batches(torch.randperm(len(train.inputs))):
            optimizer.zero_grad()
            nn.functional.mse_loss(module(inputs), outputs).backward()
            optimizer.step()
            schedule.step()
        if (error := _mean_squared_error(module, val)) < best:
            best, weights = error, copy.deepcopy(module.state_dict())
    module.load_state_dict(weights)
    return best, _mean_squared_error(module, test)


@torch.no_grad()
def _mean_squared_error(module: nn.Module, maps: Maps) -> float:
    total = sum(
        nn.functional.mse_loss(module(inputs), outputs, reduction='sum').item()
        for inputs, outputs in maps.batches(torch.arange(len(maps.inputs)))
    )
    return total / maps.outputs.numel()
