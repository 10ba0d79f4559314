"""Whether every step of a training plan can be taken, found out without taking one."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rich
from mmengine.config import ConfigDict
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.engine.build import build_model
from mmfasternet.errors import UserError

from .runs import Run, TrainingPlan

__all__ = ['dry_run']


def dry_run(plan: TrainingPlan, protocol: dict[str, Any]) -> None:
    """Print every step of a plan, then what is missing: configs, models, data, initial weights, launcher or device.

    Args:
        plan: What shall be trained.
        protocol: Arguments of the protocol by which latencies shall be taken.

    Raises:
        UserError: If something is missing; the message lists it.
    """
    table = Table('backbone', 'config', 'epochs', 'starts from', 'trains on', 'tested on')
    problems = plan.launcher.problems()
    for row in track(plan.rows, 'models', console=Console(stderr=True), transient=True):
        try:
            problems += _check(Run(plan, row, plan.seeds[0]), table)
        except UserError as error:
            problems.append(f'{row.label}: {error}')
    try:
        Protocol(**protocol)
    except UserError as error:
        problems.append(str(error))
    commands = [command for run in plan.runs() for command in (run.train_command(), run.test_command())]
    rich.print(table)
    height, width = protocol['shape']
    print(f'latencies: {", ".join(protocol["scopes"])} on {protocol["device"]}, images of {height} × {width} pixels')
    print(*map(shlex.join, commands), sep='\n')
    if problems:
        raise UserError('\n- '.join(['this is missing:', *problems]))
    print('nothing is missing')


def _check(run: Run, table: Table) -> Iterator[str]:
    """What a run misses; its backbone becomes a line of the table."""
    row, config = run.row, run.config()
    # Builds the model, without weights.
    build_model(row.config_path, run.options)
    weights = (config.model.backbone.get('init_cfg') or {}).get('checkpoint')
    if weights and '://' not in weights and not Path(weights).is_file():
        yield f'{row.label} starts from {weights}, which does not exist'
    splits = {}
    for split in ('train', 'val', 'test'):
        splits[split] = list(_data_paths(config[f'{split}_dataloader'].dataset))
        # Generated data is made when training starts.
        missing = [] if 'shapes' in config else [str(path) for path in splits[split] if not path.exists()]
        if missing:
            yield f'{row.label}, data for {split}: {" and ".join(missing)} missing'
    cells = (row.label, row.config, config.train_cfg.max_epochs, weights or 'random weights')
    table.add_row(*(escape(str(cell)) for cell in (*cells, splits['train'][0], splits['test'][0])))


def _data_paths(dataset: ConfigDict) -> Iterator[Path]:
    """The annotations and folders that a dataset of a config reads, through its wrappers."""
    while 'dataset' in dataset:
        dataset = dataset.dataset
    root = Path(dataset.get('data_root') or '')
    yield root / dataset.ann_file
    for folder in dataset.data_prefix.values():
        yield root / folder
