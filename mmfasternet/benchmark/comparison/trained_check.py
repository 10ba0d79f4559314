"""Whether every step of a study can be taken, found out without taking one."""

from collections.abc import Iterator
from pathlib import Path

from mmengine.config import ConfigDict
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from mmfasternet.engine.build import build_model
from mmfasternet.errors import UserError

from .trained import Run, Study

__all__ = ['check_study']


def check_study(study: Study) -> tuple[Table, list[str]]:
    """Resolve every step of a study: configs, models, data, weights to start from, and the launcher.

    Args:
        study: What shall be trained.

    Returns:
        A table with a line for each backbone, and what is missing, sentences in the order of the steps; none if all is
        there.

    Example:
        >>> from mmfasternet.benchmark.published.rows import find_row
        >>> table, problems = check_study(Study((find_row('fasternet_t0'),), seeds=(0,), out_dir='work_dirs/compare_trained'))
        >>> problems  # doctest: +SKIP
        []
    """
    problems = study.launcher.problems()
    table = Table('backbone', 'config', 'epochs', 'starts from', 'trains on', 'tested on')
    for row in track(study.rows, 'models', transient=True):
        run = Run(study, row, study.seeds[0])
        try:
            config = run.config()
            # Builds the model, without weights.
            build_model(row.config_path, run.options)
        except UserError as error:
            problems.append(f'{row.label}: {error}')
            continue
        weights = (config.model.backbone.get('init_cfg') or {}).get('checkpoint')
        if weights and '://' not in weights and not Path(weights).is_file():
            problems.append(f'{row.label} starts from {weights}, which is not there')
        splits = {}
        for split in ('train', 'val', 'test'):
            files = list(data_paths(config[f'{split}_dataloader'].dataset))
            splits[split] = str(files[0])
            # Generated data is made when the study starts.
            missing = [] if 'shapes' in config else [str(path) for path in files if not path.exists()]
            if missing:
                problems.append(f'{row.label}, data for {split}: {" and ".join(missing)} missing')
        cells = (row.label, row.config, str(config.train_cfg.max_epochs), weights or 'random weights')
        table.add_row(*map(escape, (*cells, splits['train'], splits['test'])))
    return table, problems


def data_paths(dataset: ConfigDict) -> Iterator[Path]:
    """The annotations and folders that a data set of a config reads, through its wrappers."""
    while 'dataset' in dataset:
        dataset = dataset.dataset
    root = Path(dataset.get('data_root') or '')
    yield root / dataset.ann_file
    for folder in dataset.data_prefix.values():
        yield root / folder
