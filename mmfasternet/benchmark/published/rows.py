"""The rows of the comparison: every backbone, its config, and what has been published about it.

Adding a backbone is one entry in ``ROWS`` and one config.
"""

from dataclasses import dataclass, field
from pathlib import Path

from mmfasternet.engine.config import project_root
from mmfasternet.errors import UserError

__all__ = ['ROWS', 'TRAINED_ROWS', 'Published', 'Row', 'find_row']


@dataclass(frozen=True)
class Published:
    """Figures that others have printed, for Mask R-CNN on COCO val2017; None where they printed none.

    Args:
        source: Where they are printed.
        box_ap: Box AP in percent points, and at IoU 0.50 and 0.75.
        box_ap50: See ``box_ap``.
        box_ap75: See ``box_ap``.
        mask_ap: Mask AP in percent points, and at IoU 0.50 and 0.75.
        mask_ap50: See ``mask_ap``.
        mask_ap75: See ``mask_ap``.
        params_m: Trainable parameters in millions.
        flops_g: Multiply-adds of one 800 × 1280 picture in G, as the source counts.
        latency_ms: Latency of one picture in ms, on ``latency_device``.
        latency_device: What the latency was taken on.
    """

    source: str
    box_ap: float
    box_ap50: float | None
    box_ap75: float | None
    mask_ap: float
    mask_ap50: float | None
    mask_ap75: float | None
    params_m: float | None = None
    flops_g: float | None = None
    latency_ms: float | None = None
    latency_device: str | None = None


@dataclass(frozen=True)
class Row:
    """One backbone of the comparison.

    Args:
        name: What commands call it.
        label: What tables and plots call it.
        family: What it shares colour and line with.
        config: Its config, relative to :func:`project_root`, or any other path.
        schedule: What ``published`` was trained for: '1x' is 12 epochs at one scale.
        published: Figures that others have printed, or None if there are none.
    """

    name: str
    label: str
    family: str
    config: str
    schedule: str = '1x'
    published: Published | None = field(default=None, repr=False)

    @property
    def config_path(self) -> Path:
        """Where its config lies."""
        return project_root() / self.config

    @property
    def identity(self) -> dict[str, str]:
        """What its records say of it."""
        return dict(row=self.name, label=self.label, family=self.family, config=self.config)


def table4(params_m: float, flops_g: int, latency_ms: float, *ap: float) -> Published:
    """A row of the paper's Table 4."""
    source = 'FasterNet, CVPR 2023, Table 4'
    return Published(source, *ap, params_m, flops_g, latency_ms, 'RTX 2080 Ti')


REPVIT = 'RepViT, github.com/THU-MIG/RepViT, detection/README.md'
ZOO = 'mmdetection 3, configs/{}/metafile.yml'

ROWS = (
    Row('fasternet_t0', 'FasterNet-T0', 'FasterNet', 'configs/mask_rcnn_fasternet_t0.py'),
    Row('fasternet_t1', 'FasterNet-T1', 'FasterNet', 'configs/mask_rcnn_fasternet_t1.py'),
    Row('fasternet_t2', 'FasterNet-T2', 'FasterNet', 'configs/mask_rcnn_fasternet_t2.py'),
    Row(
        'fasternet_s',
        'FasterNet-S',
        'FasterNet',
        'configs/mask_rcnn_fasternet_s.py',
        published=table4(49.0, 258, 54.3, 39.9, 61.2, 43.6, 36.9, 58.1, 39.7),
    ),
    Row(
        'fasternet_m',
        'FasterNet-M',
        'FasterNet',
        'configs/mask_rcnn_fasternet_m.py',
        published=table4(71.2, 344, 71.4, 43.0, 64.4, 47.4, 39.1, 61.5, 42.3),
    ),
    Row(
        'fasternet_l',
        'FasterNet-L',
        'FasterNet',
        'configs/mask_rcnn_fasternet_l.py',
        published=table4(110.9, 484, 93.8, 44.0, 65.6, 48.2, 39.9, 62.3, 43.0),
    ),
    Row(
        'resnet50',
        'ResNet50',
        'ResNet',
        'configs/baselines/mask_rcnn_resnet50.py',
        published=table4(44.2, 253, 54.9, 38.0, 58.6, 41.4, 34.4, 55.1, 36.7),
    ),
    Row(
        'resnet101',
        'ResNet101',
        'ResNet',
        'configs/baselines/mask_rcnn_resnet101.py',
        published=table4(63.2, 329, 68.9, 40.4, 61.1, 44.2, 36.4, 57.7, 38.8),
    ),
    Row(
        'resnext101_32x4d',
        'ResNeXt101-32x4d',
        'ResNeXt',
        'configs/baselines/mask_rcnn_resnext101_32x4d.py',
        published=table4(62.8, 333, 80.5, 41.9, 62.5, 45.9, 37.5, 59.4, 40.2),
    ),
    Row(
        'resnext101_64x4d',
        'ResNeXt101-64x4d',
        'ResNeXt',
        'configs/baselines/mask_rcnn_resnext101_64x4d.py',
        published=table4(101.9, 487, 112.9, 42.8, 63.8, 47.3, 38.4, 60.6, 41.3),
    ),
    Row(
        'pvt_small',
        'PVT-Small',
        'PVT',
        'configs/baselines/mask_rcnn_pvt_small.py',
        published=table4(44.1, 238, 89.5, 40.4, 62.9, 43.8, 37.8, 60.1, 40.3),
    ),
    Row(
        'pvt_medium',
        'PVT-Medium',
        'PVT',
        'configs/baselines/mask_rcnn_pvt_medium.py',
        published=table4(63.9, 295, 117.3, 42.0, 64.4, 45.6, 39.0, 61.6, 42.1),
    ),
    Row(
        'pvt_large',
        'PVT-Large',
        'PVT',
        'configs/baselines/mask_rcnn_pvt_large.py',
        published=table4(81.0, 358, 152.2, 42.9, 65.0, 46.6, 39.5, 61.9, 42.5),
    ),
    Row(
        'poolformer_s24',
        'PoolFormer-S24',
        'PoolFormer',
        'configs/baselines/mask_rcnn_poolformer_s24.py',
        published=table4(41.0, 233, 111.0, 40.1, 62.2, 43.4, 37.0, 59.1, 39.6),
    ),
    Row(
        'poolformer_s36',
        'PoolFormer-S36',
        'PoolFormer',
        'configs/baselines/mask_rcnn_poolformer_s36.py',
        published=table4(50.5, 266, 146.9, 41.0, 63.1, 44.8, 37.7, 60.1, 40.0),
    ),
    Row(
        'repvit_m1_1',
        'RepViT-M1.1',
        'RepViT',
        'configs/baselines/mask_rcnn_repvit_m1_1.py',
        published=Published(REPVIT, 39.8, 61.9, 43.5, 37.2, 58.8, 40.1),
    ),
    Row(
        'repvit_m1_5',
        'RepViT-M1.5',
        'RepViT',
        'configs/baselines/mask_rcnn_repvit_m1_5.py',
        published=Published(REPVIT, 41.6, 63.2, 45.3, 38.6, 60.5, 41.5),
    ),
    Row(
        'repvit_m2_3',
        'RepViT-M2.3',
        'RepViT',
        'configs/baselines/mask_rcnn_repvit_m2_3.py',
        published=Published(REPVIT, 44.6, 66.1, 48.8, 40.8, 63.6, 43.9),
    ),
    Row(
        'swin_tiny',
        'Swin-T',
        'Swin',
        'configs/baselines/mask_rcnn_swin_tiny.py',
        published=Published(ZOO.format('swin'), 42.7, None, None, 39.3, None, None),
    ),
    Row(
        'convnext_tiny_3x',
        'ConvNeXt-T (3x)',
        'ConvNeXt',
        'configs/baselines/mask_rcnn_convnext_tiny_3x.py',
        schedule='3x, multi-scale crops',
        published=Published(ZOO.format('convnext'), 46.2, None, None, 41.7, None, None),
    ),
)

# The backbones of the study on generated pictures, each with a config of its own.
TRAINED_ROWS = tuple(
    Row(f'trained_{name}', label, family, f'configs/demo/trained_{name}.py', schedule='from scratch')
    for name, label, family in (
        ('fasternet_t0', 'FasterNet-T0', 'FasterNet'),
        ('fasternet_t1', 'FasterNet-T1', 'FasterNet'),
        ('fasternet_t2', 'FasterNet-T2', 'FasterNet'),
        ('resnet18', 'ResNet18', 'ResNet'),
        ('resnet50', 'ResNet50', 'ResNet'),
        ('pvt_tiny', 'PVT-Tiny', 'PVT'),
        ('poolformer_s12', 'PoolFormer-S12', 'PoolFormer'),
        ('mobilenet_v2', 'MobileNetV2', 'MobileNet'),
    )
)


def find_row(name: str) -> Row:
    """The row that a name or a config file stands for.

    Args:
        name: A row's name, such as 'fasternet_s', or the path of any config. A config that is in neither ``ROWS`` nor
            ``TRAINED_ROWS`` makes a row of its own, called as its file.

    Returns:
        The row.

    Raises:
        UserError: If it is neither.

    Example:
        >>> find_row('fasternet_s').label
        'FasterNet-S'
    """
    path = Path(name)
    for row in (*ROWS, *TRAINED_ROWS):
        if row.name == name or (path.is_file() and path.resolve() == (project_root() / row.config).resolve()):
            return row
    if path.is_file():
        return Row(path.stem, path.stem, 'other', str(path))
    raise UserError(f'{name!r} is neither a config file nor a row; rows are {", ".join(row.name for row in ROWS)}')
