"""What a GPU would need for FasterNet: traffic and multiply-adds operator by operator, fitted to published figures.

An operator takes at least as long as the memory needs for what it reads and writes, and as the arithmetic units need
for its multiply-adds. The sum over a network's operators is its floor. Cards reach a share of the floor, which is
fitted to the throughputs that timm has published. Nothing here measures anything.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from statistics import geometric_mean

from mmfasternet.benchmark.published.tables import published
from mmfasternet.models import FasterNet
from mmfasternet.models.arch import MLP_RATIO, PARTIAL_RATIO, resolve_arch
from mmfasternet.models.pconv import num_convolved
from mmfasternet.models.variants import VARIANTS

__all__ = [
    'CARDS',
    'FORMS',
    'FUSED_CHANNELS',
    'LAUNCH_MS',
    'Card',
    'Fit',
    'Operator',
    'Prediction',
    'Work',
    'block_operators',
    'fit_published',
    'floor_ms',
    'network_work',
    'predict',
    'shares_of',
]

# How a network is run.
FORMS = {
    'eager': 'PyTorch as it is, or with folded norms: the bias is a kernel of its own, as the norm was',
    'compiled': "`torch.compile` in its default mode: cuDNN's convolutions, with what follows each as one kernel",
    'products': '1×1 convolutions as matrix products that add the bias, apply a ReLU and add the shortcut',
    'max-autotune': '`torch.compile` with max-autotune: matrix products that do all of that, and GELU too',
    'fused': 'one Triton kernel for a block of up to 256 channels, products above',
}
# Above, the hidden channels do not fit beside the weights in a multiprocessor's shared memory.
FUSED_CHANNELS = 256
# The rows around a tile, which are read twice, as a share of the feature map. [an assumption]
_HALO = 0.2
# What the smallest kernel takes in a CUDA graph. [an assumption]
LAUNCH_MS = 2e-3
# timm's, see `throughput_gpu_timm.csv`.
_PUBLISHED_BATCH, _PUBLISHED_SHAPE = 1024, (224, 224)
# The form that each of timm's two columns of a card is.
_MODES = ('eager', 'compiled')


@dataclass(frozen=True)
class Card:
    """A GPU, by its two ceilings.

    Args:
        name: What tables call it.
        tb_s: Memory bandwidth in TB/s.
        tflops: Half-precision matrix products in TFLOP/s, as vendors count: two for each multiply-add.
    """

    name: str
    tb_s: float
    tflops: float


# Assumptions, of what large copies and products reach.
CARDS = {
    'h100': Card('H100', 3.0, 798),
    'rtx4090': Card('RTX 4090', 0.92, 165),
    'rtx5090': Card('RTX 5090', 1.6, 209),
}


@dataclass(frozen=True)
class Operator:
    """One kernel of a block, for a feature map of c channels.

    Args:
        name: What it computes.
        reads: Elements it reads, in units of one feature map.
        writes: Elements it writes, in the same unit.
        weights: Elements of its weights in units of c², and so its multiply-adds per pixel. Defaults to 0.
    """

    name: str
    reads: float
    writes: float
    weights: float = 0


@dataclass(frozen=True)
class Work:
    """What one kernel does.

    Args:
        elements: Values it reads and writes, its weights included.
        flops: Multiply-adds.
    """

    elements: float
    flops: float


def block_operators(
    form: str, act: str = 'ReLU', partial_ratio: float = PARTIAL_RATIO, mlp_ratio: float = MLP_RATIO
) -> tuple[Operator, ...]:
    """The kernels of a FasterNet block, in order.

    Args:
        form: One of ``FORMS``.
        act: Type of the activation; GELU is part of no matrix product of PyTorch. Defaults to 'ReLU'.
        partial_ratio: Share of the channels that the PConv convolves. Defaults to 1/4.
        mlp_ratio: Hidden channels per channel. Defaults to 2.

    Returns:
        Each kernel; its reads and writes are in units of one feature map.

    Example:
        >>> for form in FORMS:
        ...     kernels = block_operators(form, 'GELU')
        ...     print(form, len(kernels), round(sum(kernel.reads + kernel.writes for kernel in kernels), 2))
        eager 8 20.0
        compiled 7 16.0
        products 6 14.0
        max-autotune 5 10.0
        fused 1 2.2
    """
    p, hidden = partial_ratio, mlp_ratio
    if form == 'fused':
        return (Operator('the complete block', 1 + _HALO, 1, 9 * p * p + 2 * hidden),)
    pconv = [Operator('3×3 convolution', p, p, 9 * p * p)]
    if p < 1:
        # cuDNN takes no part of a feature map: the channels are copied first.
        pconv = [Operator('copy of the convolved channels', p, p), *pconv, Operator('concatenation', 1, 1)]
    expand = Operator('expansion to the hidden channels', 1, hidden, hidden)
    activation = Operator('activation', hidden, hidden)
    plain = (Operator('projection', hidden, 1, hidden), Operator('shortcut', 2, 1))
    with_shortcut = Operator('projection, with the shortcut', hidden + 1, 1, hidden)
    return {
        'eager': (*pconv, expand, Operator('norm, or bias of a folded one', hidden, hidden), activation, *plain),
        'compiled': (*pconv, expand, Operator('norm and activation', hidden, hidden), *plain),
        'products': (*pconv, expand, *[activation] * (act == 'GELU'), with_shortcut),
        'max-autotune': (*pconv, expand, with_shortcut),
    }[form]


def network_work(
    arch: str | dict, form: str, shape: tuple[int, int] = (224, 224), batch: int = 1, out_norm: bool = True
) -> Iterator[Work]:
    """What each kernel of a backbone does.

    Args:
        arch: A variant, or settings as :class:`~mmfasternet.models.FasterNet` takes them.
        form: One of ``FORMS``.
        shape: Height and width of the image in pixels. Defaults to (224, 224).
        batch: Images at once. Defaults to 1.
        out_norm: Whether the four outputs have norms, as in a detector. Defaults to True.

    Yields:
        The work of a kernel, in order.

    Example:
        >>> works = list(network_work('t0', 'eager'))
        >>> len(works), round(sum(work.flops for work in works) / 1e6)
        (116, 334)
    """
    settings = resolve_arch(arch, FasterNet.arch_settings)
    channels, act = settings['embed_dims'], settings['act_cfg']['type']
    ratios = num_convolved(channels, settings['partial_ratio']) / channels, settings['mlp_ratio']
    # What follows cuDNN's convolutions, if only a bias, is a kernel of its own.
    separate = form != 'max-autotune'
    height, width = shape[0] // 4, shape[1] // 4
    elements = batch * channels * height * width
    yield from _convolution(batch * 3 * shape[0] * shape[1], elements, 3 * 16 * channels, channels, separate)
    for stage, depth in enumerate(settings['depths']):
        if stage > 0:
            before, channels, height, width = elements, 2 * channels, height // 2, width // 2
            elements = batch * channels * height * width
            yield from _convolution(before, elements, 2 * channels * channels, channels, separate)
        for operator in depth * block_operators(_form_of_block(form, channels), act, *ratios):
            weights = operator.weights * channels**2
            yield Work((operator.reads + operator.writes) * elements + weights, weights * elements / channels)
        if out_norm:
            yield Work(2 * elements, 0)


def floor_ms(works: Iterable[Work], card: Card, value_bytes: int = 2, share: float = 1, launch_ms: float = 0) -> float:
    """The least time that kernels take one after the other.

    Args:
        works: What they do.
        card: Its ceilings, in the precision of the values.
        value_bytes: Bytes of a value. Defaults to 2.
        share: Share of the ceilings that is reached. Defaults to 1.
        launch_ms: What a kernel takes at least, in ms. Defaults to 0.

    Returns:
        Milliseconds.

    Example:
        >>> floor_ms([Work(elements=1.5e9, flops=1e9), Work(elements=0, flops=399e9)], CARDS['h100'])
        2.0
    """

    def least_ms(work: Work) -> float:
        memory, arithmetic = work.elements * value_bytes / card.tb_s, 2 * work.flops / card.tflops
        return max(memory, arithmetic) / 1e9 / share

    return sum(max(least_ms(work), launch_ms) for work in works)


@dataclass(frozen=True)
class Fit:
    """The share of the floor that a card reaches, fitted to the throughputs that timm has published.

    Args:
        card: The card.
        mode: 'eager' or 'compiled', timm's column.
        form: The form whose floor it is.
        published: Variant → images/s.
        floors: Variant → images/s at the floor.
    """

    card: Card
    mode: str
    form: str
    published: dict[str, float]
    floors: dict[str, float]

    @property
    def shares(self) -> dict[str, float]:
        """Variant → share of its floor that is reached."""
        return {arch: self.published[arch] / floor for arch, floor in self.floors.items()}

    @property
    def share(self) -> float:
        """The constant: the geometric mean of the shares."""
        return geometric_mean(self.shares.values())

    @property
    def predicted(self) -> dict[str, float]:
        """Variant → images/s with the constant."""
        return {arch: self.share * floor for arch, floor in self.floors.items()}

    @property
    def errors(self) -> dict[str, float]:
        """Variant → predicted over published, minus 1."""
        return {arch: value / self.published[arch] - 1 for arch, value in self.predicted.items()}


@cache
def fit_published(card: str, mode: str, form: str | None = None) -> Fit:
    """Fit a card and mode to timm's figures: AMP, batch 1024, 224², with the classifier, whose head is not counted.

    Args:
        card: 'rtx4090' or 'rtx5090'.
        mode: 'eager' or 'compiled'.
        form: The form that is taken for it. None means that of the mode's name. Defaults to None.

    Returns:
        The fit.

    Example:
        >>> found = fit_published('rtx4090', 'eager')
        >>> f'{found.share:.2f}', f'{max(map(abs, found.errors.values())):.0%}'
        ('0.82', '3%')
    """
    form = form or mode
    figures = {line['timm_name']: line[f'{card}_{mode}'] for line in published('throughput_gpu_timm')}
    works = {arch: network_work(arch, form, _PUBLISHED_SHAPE, _PUBLISHED_BATCH, out_norm=False) for arch in VARIANTS}
    floors = {arch: 1000 * _PUBLISHED_BATCH / floor_ms(work, CARDS[card]) for arch, work in works.items()}
    return Fit(CARDS[card], mode, form, {arch: float(figures[f'fasternet_{arch}']) for arch in VARIANTS}, floors)


def shares_of(form: str) -> list[float]:
    """Shares of the floor that the variants reach on the two cards: those of the form, or of both forms together.

    Args:
        form: One of ``FORMS``.

    Returns:
        The shares of all points that there are; empty for 'fused', which is like nothing that was published.
    """
    modes = (form,) if form in _MODES else () if form == 'fused' else _MODES
    fits = [fit_published(card, mode) for mode in modes for card in ('rtx4090', 'rtx5090')]
    return [share for found in fits for share in found.shares.values()]


@dataclass(frozen=True)
class Prediction:
    """What is expected of a card.

    Args:
        batch: Images at once.
        launches: Kernels.
        floor_ms: Milliseconds at both ceilings, without any cost of launching.
        fastest_ms: With the highest share that was reached anywhere, in a CUDA graph. None without published figures.
        slowest_ms: With the lowest. None likewise.
    """

    batch: int
    launches: int
    floor_ms: float
    fastest_ms: float | None
    slowest_ms: float | None

    @property
    def throughput(self) -> tuple[float, float] | None:
        """Images/s, the lower and the higher; None without published figures."""
        times = self.slowest_ms, self.fastest_ms
        return None if None in times else tuple(1000 * self.batch / value for value in times)


def predict(
    arch: str | dict,
    form: str,
    shape: tuple[int, int] = (224, 224),
    batch: int = 1,
    card: Card = CARDS['h100'],
    value_bytes: int = 2,
) -> Prediction:
    """Predict the time of a backbone.

    Args:
        arch: A variant, or settings as :class:`~mmfasternet.models.FasterNet` takes them.
        form: One of ``FORMS``.
        shape: Height and width of the image in pixels. Defaults to (224, 224).
        batch: Images at once. Defaults to 1.
        card: Its ceilings. Defaults to those of an H100 in half precision.
        value_bytes: Bytes of a value. Defaults to 2.

    Returns:
        The floor, and the range of times that the shares of the published figures give.

    Example:
        >>> found = predict('t0', 'eager', batch=256)
        >>> found.launches, round(found.floor_ms, 2), [round(value, -3) for value in found.throughput]
        (116, 2.09, [78000.0, 104000.0])
    """
    works, shares = list(network_work(arch, form, shape, batch)), shares_of(form)
    times = [floor_ms(works, card, value_bytes, share, LAUNCH_MS) for share in shares] or [None]
    # None alone is its own minimum.
    return Prediction(batch, len(works), floor_ms(works, card, value_bytes), min(times), max(times))


def _convolution(read: float, written: float, weights: int, channels: int, separate: bool) -> Iterator[Work]:
    """The embedding or a merging layer, and its norm where that is a kernel of its own."""
    yield Work(read + written + weights, weights * written / channels)
    if separate:
        yield Work(2 * written, 0)


def _form_of_block(form: str, channels: int) -> str:
    return 'products' if form == 'fused' and channels > FUSED_CHANNELS else form
