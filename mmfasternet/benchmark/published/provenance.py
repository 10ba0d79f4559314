"""What has been published of a backbone besides Mask R-CNN's AP: its training, and its speed elsewhere."""

from collections import defaultdict
from dataclasses import dataclass

from .tables import number, published

__all__ = ['Provenance', 'Speed', 'provenance_of', 'speeds_of']

_PAPER, _PAPER_URL = 'FasterNet, CVPR 2023, Table 3', 'https://arxiv.org/abs/2303.03667'
# Column of table3_imagenet.csv → device, engine, batch and unit.
_TABLE_3 = dict(
    gpu_throughput_fps=('RTX 2080 Ti', 'PyTorch', 32, 'images/s'),
    cpu_latency_ms=('i9-9900X, 1 thread', 'PyTorch', 1, 'ms'),
    arm_latency_ms=('ARM', 'PyTorch', 1, 'ms'),
)
_TIMM = 'timm, results/benchmark-infer-amp-nchw-pt291-*.csv'
_TIMM_URL = 'https://github.com/huggingface/pytorch-image-models/tree/main/results'


@dataclass(frozen=True)
class Provenance:
    """Where a backbone's weights and other figures come from; None where no source that was read says it.

    Args:
        pretraining: Data that its weights were trained on before. Defaults to None.
        epochs: Epochs on those data. Defaults to None.
        distilled: Whether it learned from a teacher there. Defaults to None.
        top1: Its accuracy on ImageNet-1k in percent. Defaults to None.
        pretraining_url: Source of these. Defaults to None.
        recipe: Optimizer, learning rate and weight decay of the detector's training. Defaults to None.
        retinanet_ap: Box AP of RetinaNet, 1x, on COCO val2017. Defaults to None.
        retinanet_url: Its source. Defaults to None.
        miou: mIoU on ADE20K in percent, at one scale. Defaults to None.
        miou_head: Head of the segmentor. Defaults to None.
        miou_url: Source of both. Defaults to None.
        read: Month in which the sources were read. Defaults to None.
        note: What a reader of the figures should know. Defaults to None.
    """

    pretraining: str | None = None
    epochs: int | None = None
    distilled: bool | None = None
    top1: float | None = None
    pretraining_url: str | None = None
    recipe: str | None = None
    retinanet_ap: float | None = None
    retinanet_url: str | None = None
    miou: float | None = None
    miou_head: str | None = None
    miou_url: str | None = None
    read: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Speed:
    """A latency or throughput that others have published.

    Args:
        scope: What was timed: 'backbone' or 'classifier'.
        device: Where.
        resolution: Side of the square images in pixels.
        engine: What ran it.
        batch: Images at a time. None where the source does not say.
        value: How fast.
        unit: 'ms' for a batch, or 'images/s'.
        source: Publication and table.
        url: Where it is.
    """

    scope: str
    device: str
    resolution: int
    engine: str
    batch: int | None
    value: float
    unit: str
    source: str
    url: str

    @property
    def setting(self) -> str:
        """All that must be the same where two figures are compared.

        Example:
            >>> Speed('backbone', 'iPhone 13', 512, 'Core ML', 1, 4.0, 'ms', 'iFormer', 'https://…').setting
            'backbone, iPhone 13, Core ML, 512 × 512, batch 1'
        """
        batch = '' if self.batch is None else f', batch {self.batch}'
        return f'{self.scope}, {self.device}, {self.engine}, {self.resolution} × {self.resolution}{batch}'

    @property
    def image_ms(self) -> float:
        """Milliseconds for an image."""
        return self.value / (self.batch or 1) if self.unit == 'ms' else 1000 / self.value


def provenance_of(line: dict[str, str]) -> Provenance:
    """Read the provenance in a line of ``rows.csv``.

    Args:
        line: Column → text; those that are missing count as empty.

    Returns:
        The provenance.

    Example:
        >>> provenance_of(dict(pretraining='ImageNet-1k', epochs='300', distilled='yes')).distilled
        True
    """
    texts = {key: line.get(key) or None for key in Provenance.__dataclass_fields__}
    numbers = {key: number(texts[key] or '') for key in ('epochs', 'top1', 'retinanet_ap', 'miou')}
    return Provenance(**{**texts, **numbers, 'distilled': {'yes': True, 'no': False}.get(texts['distilled'])})


def speeds_of(name: str, label: str) -> tuple[Speed, ...]:
    """Collect the published latencies and throughputs of a backbone.

    Args:
        name: Name of its row, which is timm's where timm has it.
        label: Its label, which is the paper's where the paper has it; what stands in brackets does not count.

    Returns:
        Those of ``latencies.csv``, of the paper's Table 3 and of timm.

    Example:
        >>> [speed.device for speed in speeds_of('repvit_m2_3', 'RepViT-M2.3')]
        ['iPhone 12', 'iPhone 12', 'RTX 4090', 'RTX 5090', 'RTX 5090']
    """
    network = label.split(' (')[0]
    speeds = list(_COLLECTED[name])
    for column, (device, engine, batch, unit) in _TABLE_3.items():
        if value := number(_OF_THE_PAPER.get(network, {}).get(column, '')):
            speeds.append(Speed('classifier', device, 224, engine, batch, value, unit, _PAPER, _PAPER_URL))
    for column, text in _OF_TIMM.get(name, {}).items():
        if value := number(text):
            card, mode = column.split('_')
            device, engine = card.upper().replace('RTX', 'RTX '), f'PyTorch {mode}'
            speeds.append(Speed('classifier', device, 224, engine, 1024, value, 'images/s', _TIMM, _TIMM_URL))
    return tuple(speeds)


def _collected() -> dict[str, list[Speed]]:
    found = defaultdict(list)
    for line in published('latencies'):
        numbers = {key: number(line[key]) for key in ('resolution', 'batch', 'value')}
        found[line.pop('row')].append(Speed(**{**line, **numbers}))
    return found


_COLLECTED = _collected()
_OF_THE_PAPER = {line.pop('network'): line for line in published('table3_imagenet')}
_OF_TIMM = {line.pop('timm_name'): line for line in published('throughput_gpu_timm')}
