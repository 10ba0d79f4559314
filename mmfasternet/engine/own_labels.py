"""From your own semantic maps or folders of classes to a config that trains on them."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mmfasternet.datasets.formats import Source, convert_classes, convert_maps, parse_map
from mmfasternet.datasets.recipe_classifier import write_classifier
from mmfasternet.datasets.recipe_segmentor import write_segmentor
from mmfasternet.errors import UserError, printable
from mmfasternet.reports.data.labels.report import write_classes_report, write_maps_report

from .config import load_config, project_root
from .own_data import KEPT
from .speed import measure_speed

__all__ = ['prepare_labels']


def prepare_labels(
    format: str,
    source: str | Path,
    out: str | Path,
    values: str | None = None,
    arch: str | None = None,
    skip_bad: bool = False,
    val: float = 0.2,
    seed: int = 0,
    budget: float | None = None,
) -> tuple[str, Path, str]:
    """Convert a source of a segmentor or classifier, write a config unless there is one, and report on the data.

    Args:
        format: A name in :data:`~mmfasternet.datasets.formats.LABELS`.
        source: Folder of the source.
        out: Folder to write, outside of the source.
        values: What the values in semantic maps mean, such as '127=smoke,254=fire'. Defaults to None.
        arch: Variant of FasterNet. None means 't0'. Defaults to None.
        skip_bad: Leave out what can't be read, instead of raising an error. Defaults to False.
        val: Share of the images to evaluate on where the source has none, between 0 and 1. Defaults to 0.2.
        seed: Of that split. Defaults to 0.
        budget: Seconds that the training and all that follows may take on this machine. None means as many epochs as
            the data asks for. Defaults to None.

    Returns:
        What was read, left out and found, the config, and what the config trains.

    Raises:
        UserError: If the source can't be read, ``out`` holds another data set, or the budget is too short.

    Example:
        >>> from mmfasternet.datasets import make_crops, make_shapes
        >>> crops = make_crops(make_shapes('shapes', num_train=9, num_val=9), 'crops')
        >>> prepare_labels('classes', crops, 'mine')[1:]
        (PosixPath('mine/config.py'), 'trains a light classifier from random weights')
    """
    if values and format != 'maps':
        raise UserError(f'--map is for semantic maps, but {source} is read as {format}')
    if format == 'maps':
        write = write_segmentor
        text, read = convert_maps(source, out, parse_map(values) if values else None, skip_bad, val, seed)
    else:
        write = write_classifier
        text, read = convert_classes(source, out, skip_bad, val, seed)
    config = Path(out, 'config.py')
    note = KEPT
    if not config.exists():
        write = partial(write, configs=project_root() / 'configs', data_root=out, images=source, arch=arch or 't0')
        note = _write_within(budget, write, config)
    return '\n'.join([text, *_report(read, config, f'{config}: {note}')]), config, note


def _write_within(budget: float | None, write: Callable[..., str], config: Path) -> str:
    """Write the config, with as many epochs as fit into the budget; what it trains."""
    if not budget:
        return f'trains {write(config)} from random weights'
    began = time.monotonic()
    speed = measure_speed(write, config.parent)
    epochs = speed.epochs_within(budget - (time.monotonic() - began))
    return f'trains {write(config, max_epochs=epochs)} from random weights, {epochs} epochs; {speed}'


def _report(read: Source, config: Path, note: str) -> list[str]:
    """Write the report of the data beside the config; what it has found."""
    cfg, path = load_config(config), config.with_name('report.html')
    if read.format == 'maps':
        found = write_maps_report(path, read, config.with_name('semantic'), cfg, note)
    else:
        found = write_classes_report(path, read, cfg, note)
    return [*found, printable(f'{path}: the data in figures and images')]
