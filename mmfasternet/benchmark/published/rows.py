"""The rows of the comparison: every backbone, its config, and what has been published about it.

To add a backbone, add a config and a line to ``rows.csv`` (or ``trained_rows.csv``). The AP of a backbone of the
paper's Table 4 comes from ``table4_coco.csv``, by its label; that of any other stands in the line, with its source. A
line without a config has published figures alone. The first backbone of a family with a config also needs a line in
``families.csv``.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from mmfasternet.engine.config import find_config, project_root
from mmfasternet.errors import UserError

from .provenance import Provenance, Speed, provenance_of, speeds_of
from .tables import number, published

__all__ = ['BUILT_ROWS', 'ROWS', 'TRAINED_ROWS', 'Published', 'Row', 'find_row']


@dataclass(frozen=True)
class Published:
    """Published figures of Mask R-CNN on COCO val2017; None where the source gives none.

    Args:
        source: Where they were published.
        box_ap: Box AP in percent.
        box_ap50: Box AP at IoU 0.50.
        box_ap75: Box AP at IoU 0.75.
        mask_ap: Mask AP in percent.
        mask_ap50: Mask AP at IoU 0.50.
        mask_ap75: Mask AP at IoU 0.75.
        params_m: Trainable parameters in millions.
        flops_g: Multiply-adds in G for one 800 × 1280 image, as the source counts them.
        latency_ms: Latency in ms for one image, on ``latency_device``.
        latency_device: Device of the latency.
        url: Where the source is.
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
    url: str | None = None


@dataclass(frozen=True)
class Row:
    """One backbone of the comparison.

    Args:
        name: Its name in commands and records.
        label: Its name in tables and plots.
        family: Its family, which shares a colour and a line in plots.
        config: Path of its config: relative to :func:`project_root` if it is in there, else absolute. None where only
            figures are known: it can't be built, or no record names its config.
        schedule: Training schedule of ``published``: '1x' is 12 epochs at one scale. None means that there are none.
            Defaults to None.
        published: Published figures. None means that there are none. Defaults to None.
        weights: URL of a published checkpoint of the detector. None means that there is none. Defaults to None.
        provenance: Where its weights and other figures come from. Defaults to nothing known.
        speeds: Published latencies and throughputs. Defaults to ().
    """

    name: str
    label: str
    family: str
    config: str | None
    schedule: str | None = None
    published: Published | None = field(default=None, repr=False)
    weights: str | None = field(default=None, repr=False)
    provenance: Provenance = field(default=Provenance(), repr=False)
    speeds: tuple[Speed, ...] = field(default=(), repr=False)

    @property
    def config_path(self) -> Path:
        """Absolute path of its config.

        Raises:
            UserError: If it has none.
        """
        if self.config is None:
            raise UserError(
                f'{self.label} has published figures alone, and no config: it is neither built nor measured'
            )
        return project_root() / self.config

    @property
    def marked_label(self) -> str:
        """Its label, with ‡ if its pre-training is distilled."""
        return self.label + ' ‡' * (self.provenance.distilled is True)

    @property
    def identity(self) -> dict[str, str]:
        """The fields that its records identify it by."""
        return dict(row=self.name, label=self.label, family=self.family, config=self.config)


_FIGURES = ('box_ap', 'box_ap50', 'box_ap75', 'mask_ap', 'mask_ap50', 'mask_ap75')
_TABLE_4 = {line.pop('backbone'): line for line in published('table4_coco')}


def _published(line: dict[str, str]) -> Published | None:
    """The figures of a line of rows.csv: from Table 4 if it has them, else from the line."""
    if line['label'] in _TABLE_4:
        figures = {key: number(text) for key, text in _TABLE_4[line['label']].items()}
        latency = figures.pop('gpu_latency_ms')
        source, url = 'FasterNet, CVPR 2023, Table 4', 'https://arxiv.org/abs/2303.03667'
        return Published(source, latency_ms=latency, latency_device='RTX 2080 Ti', url=url, **figures)
    if not line['source']:
        return None
    return Published(line['source'], url=line['url'], **{key: number(line[key]) for key in _FIGURES})


def _compared(line: dict[str, str]) -> Row:
    return replace(
        _row(line),
        published=_published(line),
        weights=line['weights'] or None,
        provenance=provenance_of(line),
        speeds=speeds_of(line['name'], line['label']),
    )


def _row(line: dict[str, str]) -> Row:
    return Row(line['name'], line['label'], line['family'], line['config'] or None, line['schedule'])


# Compared by published AP.
ROWS = tuple(map(_compared, published('rows')))
# Those of them that have a config, and can be measured.
BUILT_ROWS = tuple(row for row in ROWS if row.config)
# Compared by the AP of a training on generated images, each with a config of its own.
TRAINED_ROWS = tuple(map(_row, published('trained_rows')))


def find_row(name: str) -> Row:
    """Find a row by its name, or by its config.

    Args:
        name: Name of a row, such as 'fasternet_s', or a config, see :func:`find_config`. A config of neither ``ROWS``
            nor ``TRAINED_ROWS`` becomes a row named after its file, in the family 'other'.

    Returns:
        The row.

    Raises:
        UserError: If it is neither a row nor a config.

    Example:
        >>> find_row('fasternet_s').label
        'FasterNet-S'
    """
    rows = {row.name: row for row in (*ROWS, *TRAINED_ROWS)}
    if name in rows:
        return rows[name]
    try:
        path, root = find_config(name).resolve(), project_root()
    except UserError as error:
        names = ', '.join(row.name for row in ROWS)
        raise UserError(f'{name!r} is no row ({names}), and {error}') from error
    config = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    return next((row for row in rows.values() if row.config == config), Row(path.stem, path.stem, 'other', config))
