"""How well two cheap convolutions do what one regular convolution does (Sec. 4.1 and Table 2)."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mmfasternet.benchmark.measure.latency import progress_bar
from mmfasternet.benchmark.paper.photographs import read_square
from mmfasternet.benchmark.paper.records import StudyFile
from mmfasternet.benchmark.paper.subject import Network, Subject, digest, record_maps
from mmfasternet.errors import UserError
from mmfasternet.models import PConv

__all__ = ['CONTENDERS', 'Contender', 'Maps', 'Plan', 'first_convs', 'fit', 'flops_of', 'measure_approximation']

GROUPS = 16
STAGES = 4
# Of the fits: pictures at once, and Adam's learning rate at its beginning, from which a cosine leads to 0.
BATCH, LEARNING_RATE = 10, 0.01


class WidenedDWConv(nn.Module):
    """A depthwise 3×3 convolution that sees some channels again to put out more of them (Sec. 3.1).

    Args:
        channels: Channels of the input.
        width: Channels of the output.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.register_buffer('source', torch.arange(width) % channels, persistent=False)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.depthwise(x[:, self.source])


def dwconv_pwconv(channels: int, out_channels: int) -> nn.Module:
    return then_pwconv(nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False), channels, out_channels)


def widened_dwconv_pwconv(channels: int, out_channels: int) -> nn.Module:
    """As wide as comes nearest to the multiply-adds of PConv and PWConv: 9·c' + c'·c_out of 9·c²/16 + c·c_out."""
    width = round(flops_of(pconv_pwconv(channels, out_channels)) / (9 + out_channels))
    return then_pwconv(WidenedDWConv(channels, width), width, out_channels)


def gconv_pwconv(channels: int, out_channels: int) -> nn.Module:
    if channels % GROUPS:
        raise UserError(
            f'a layer with {channels} channels has no grouped convolution of {GROUPS} groups; study another network, '
            f'whose channels are multiples of {GROUPS}'
        )
    return then_pwconv(nn.Conv2d(channels, channels, 3, padding=1, groups=GROUPS, bias=False), channels, out_channels)


def pconv_pwconv(channels: int, out_channels: int) -> nn.Module:
    return then_pwconv(PConv(channels), channels, out_channels)


def then_pwconv(spatial: nn.Module, width: int, out_channels: int) -> nn.Module:
    return nn.Sequential(spatial, nn.Conv2d(width, out_channels, 1, bias=False))


@dataclass(frozen=True)
class Contender:
    """Two convolutions in place of one.

    Args:
        name: What records call it; as the column of the paper's Table 2 where it has one.
        label: What tables and plots call it.
        build: Makes it from the channels of input and output.
    """

    name: str
    label: str
    build: Callable[[int, int], nn.Module]


CONTENDERS = (
    Contender('dwconv_pwconv', 'DWConv + PWConv', dwconv_pwconv),
    Contender('dwconv_pwconv_widened', 'DWConv widened + PWConv', widened_dwconv_pwconv),
    Contender('gconv16_pwconv', f'GConv ({GROUPS} groups) + PWConv', gconv_pwconv),
    Contender('pconv_pwconv', 'PConv + PWConv', pconv_pwconv),
)


def flops_of(module: nn.Module) -> int:
    """Multiply-adds for one position of a map, of convolutions of stride 1.

    Args:
        module: Convolutions without biases.

    Returns:
        Their number: each weight is used once.

    Example:
        >>> flops_of(pconv_pwconv(64, 64)) == 9 * 16**2 + 64**2
        True
    """
    return sum(parameter.numel() for parameter in module.parameters())


@dataclass(frozen=True)
class Plan:
    """What is fitted.

    Args:
        images: Picture files.
        seeds: Each splits the pictures and draws the first weights once. Defaults to (0, 1, 2).
        pixels: Height and width of the network's input. Defaults to 192.
        epochs: Passes over the training pictures of each fit. Defaults to 60.

    Raises:
        UserError: If there are fewer than ten pictures, or there is no seed.
    """

    images: Sequence[Path]
    seeds: tuple[int, ...] = (0, 1, 2)
    pixels: int = 192
    epochs: int = 60

    def __post_init__(self) -> None:
        if len(self.images) < 10:
            raise UserError(f'at least 10 pictures are needed to split them 70/10/20, but there are {len(self.images)}')
        if not self.seeds or self.epochs < 1:
            raise UserError('at least one seed and one epoch are needed')


@dataclass(frozen=True)
class Maps:
    """What goes into a convolution and what comes out.

    Args:
        inputs: Of shape (N, C, H, W).
        outputs: Of shape (N, C', H, W).
    """

    inputs: Tensor
    outputs: Tensor

    def split(self, seed: int) -> tuple['Maps', 'Maps', 'Maps']:
        """Training, validation and test: 70 %, 10 % and 20 % of the pictures, drawn by the seed."""
        order = torch.randperm(len(self.inputs), generator=torch.Generator().manual_seed(seed))
        train, val = round(0.7 * len(order)), round(0.8 * len(order))
        return tuple(Maps(self.inputs[part], self.outputs[part]) for part in order.tensor_split([train, val]))

    def batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for part in order.split(BATCH):
            yield self.inputs[part], self.outputs[part]


def measure_approximation(subject: Subject, plan: Plan, out: str | Path) -> dict:
    """Fit every contender to the first stride-1 3×3 convolution of every stage, with every seed.

    The convolution's own input and output are recorded, before the norm and the activation that follow it. Every
    finished fit is saved at once.

    Args:
        subject: The network.
        plan: What is fitted.
        out: File of records, see docs/records.md.

    Returns:
        The document: a record for each contender, stage and seed. Its figures are ``mse`` on the test pictures and
        ``val_mse``, in squared units of the maps, ``variance``, that of the test maps around each channel's mean,
        ``flops`` (multiply-adds) of one position, ``target_flops`` of the convolution, and ``channels``, ``height`` and
        ``width``.

    Raises:
        UserError: If the network has no such convolution, or the file of records is of another network or budget.
    """
    network = subject.build()
    picture = read_square(plan.images[:1], plan.pixels)
    file = StudyFile(out, 'approximation')
    common = dict(
        network=subject.name,
        digest=digest(network.state_dict()),
        pictures=len(plan.images),
        first_picture=digest(dict(picture=picture)),
        pixels=plan.pixels,
        epochs=plan.epochs,
    )
    file.require(common)
    layers = first_convs(network, picture)
    missing = [
        (dict(common, seed=seed, stage=stage, layer=layer), contender)
        for seed in plan.seeds
        for stage, layer in layers.items()
        for contender in CONTENDERS
        if not file.find(contender.name, dict(common, seed=seed, stage=stage, layer=layer))
    ]
    with progress_bar() as progress:
        maps = record_pictures(network, layers, plan, progress.track) if missing else {}
        for settings, contender in progress.track(missing, description='fits'):
            figures = fit_contender(contender, maps[settings['stage']], settings['seed'], plan.epochs)
            file.add(contender.name, contender.label, settings, figures)
    return file.document


@torch.no_grad()
def first_convs(network: Network, picture: Tensor) -> dict[int, str]:
    """The first regular 3×3 convolution of stride 1 at each of the four smallest sizes of a map.

    Args:
        network: Any.
        picture: Of shape (1, 3, H, W).

    Returns:
        Stage, from 1 for the largest maps → name of the layer.

    Raises:
        UserError: If there is none.
    """
    regular = dict(kernel_size=(3, 3), stride=(1, 1), dilation=(1, 1), groups=1, padding=(1, 1), padding_mode='zeros')
    convs = {
        name: module
        for name, module in network.body.named_modules()
        if isinstance(module, nn.Conv2d) and all(getattr(module, key) == value for key, value in regular.items())
    }
    first: dict[int, str] = {}
    with record_maps(convs, lambda name, x, y: first.setdefault(y.shape[2] * y.shape[3], name)):
        network(picture)
    if not first:
        raise UserError('the network has no regular 3×3 convolution of stride 1 that could be approximated')
    return dict(enumerate((first[size] for size in sorted(first, reverse=True)[-STAGES:]), start=1))


@torch.no_grad()
def record_pictures(network: Network, layers: dict[int, str], plan: Plan, track: Callable) -> dict[int, Maps]:
    """What goes into the layers and comes out of them, for all pictures."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers.values()}
    modules = {name: network.body.get_submodule(name) for name in seen}
    # A bias is no part of what is approximated: the contenders have none.
    biases = {name: 0 if module.bias is None else module.bias.view(-1, 1, 1) for name, module in modules.items()}

    def keep(name: str, x: Tensor, y: Tensor) -> None:
        # Both are copies, since the module behind may work in place.
        seen[name].append((x.clone(), y - biases[name]))

    with record_maps(modules, keep):
        for start in track(range(0, len(plan.images), BATCH), description='maps of the pictures'):
            network(read_square(plan.images[start : start + BATCH], plan.pixels))
    return {stage: Maps(*map(torch.cat, zip(*seen[name], strict=True))) for stage, name in layers.items()}


def fit_contender(contender: Contender, maps: Maps, seed: int, epochs: int) -> dict:
    _, channels, height, width = maps.inputs.shape
    out_channels = maps.outputs.shape[1]
    torch.manual_seed(seed)
    module = contender.build(channels, out_channels)
    train, val, test = maps.split(seed)
    val_mse, mse = fit(module, train, val, test, epochs)
    return dict(
        mse=mse,
        val_mse=val_mse,
        variance=test.outputs.var(dim=(0, 2, 3), correction=0).mean().item(),
        flops=flops_of(module),
        target_flops=9 * channels * out_channels,
        channels=channels,
        height=height,
        width=width,
    )


def fit(module: nn.Module, train: Maps, val: Maps, test: Maps, epochs: int) -> tuple[float, float]:
    """Train a module to put out what a convolution puts out, by the mean squared error.

    Args:
        module: What is trained, in place; it ends with its best weights on the validation maps.
        train: Maps to train on.
        val: Maps to choose the best epoch by.
        test: Maps to test on.
        epochs: Passes over the training maps.

    Returns:
        The mean squared errors on the validation and the test maps.

    Example:
        >>> x = torch.rand(12, 2, 4, 4)
        >>> maps = Maps(x, 2 * x)
        >>> val_mse, mse = fit(nn.Conv2d(2, 2, 1), maps, maps, maps, epochs=500)
        >>> mse < 0.001
        True
    """
    steps = epochs * -(-len(train.inputs) // BATCH)
    optimizer = torch.optim.Adam(module.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, weights = float('inf'), module.state_dict()
    for _ in range(epochs):
        for inputs, outputs in train.batches(torch.randperm(len(train.inputs))):
            optimizer.zero_grad()
            nn.functional.mse_loss(module(inputs), outputs).backward()
            optimizer.step()
            schedule.step()
        if (error := mean_squared_error(module, val)) < best:
            best, weights = error, copy.deepcopy(module.state_dict())
    module.load_state_dict(weights)
    return best, mean_squared_error(module, test)


@torch.no_grad()
def mean_squared_error(module: nn.Module, maps: Maps) -> float:
    total = sum(
        nn.functional.mse_loss(module(inputs), outputs, reduction='sum').item()
        for inputs, outputs in maps.batches(torch.arange(len(maps.inputs)))
    )
    return total / maps.outputs.numel()
