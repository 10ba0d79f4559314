"""Trainings of backbones under one budget: planned, run one at a time, resumed, tested and read back."""

import json
import re
import shlex
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from mmengine.config import Config
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mmfasternet.benchmark.published.rows import Row
from mmfasternet.benchmark.records import without_secrets
from mmfasternet.datasets import make_shapes
from mmfasternet.engine.budget import claim_work_dir
from mmfasternet.engine.checkpoints import latest_checkpoint
from mmfasternet.engine.config import load_config
from mmfasternet.engine.launch import Launcher
from mmfasternet.engine.processes import end_on_signals, run_logged
from mmfasternet.engine.testing import newest_metrics
from mmfasternet.errors import UserError
from mmfasternet.locks import exclusive

from .ap import ap_record

__all__ = [
    'Run',
    'TrainingPlan',
    'generate_data',
    'learning_curves',
    'run_record',
    'train_in_turn',
    'training_lock',
]


_ITERATION = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]')


@dataclass(frozen=True)
class TrainingPlan:
    """Which backbones are trained, and how.

    Args:
        rows: The backbones.
        seeds: Each trains every backbone once.
        out_dir: Folder for ``records.json``, and for the trainings in ``seed_N/<row>``.
        options: Settings that override those of every config, dotted key → value. Defaults to {}.
        shapes: Parameters of the generated data that override the configs' own. Defaults to {}.
        launcher: What trains and tests. Defaults to one process.
        trust_checkpoint: Whether checkpoints that hold more than weights are read. Defaults to False.

    Raises:
        UserError: If there is nothing to train, or two backbones share a name.

    Example:
        >>> from mmfasternet.benchmark.published.rows import TRAINED_ROWS
        >>> plan = TrainingPlan(TRAINED_ROWS[:1], seeds=(0, 1), out_dir='trained')
        >>> [run.folder.as_posix() for run in plan.runs()]
        ['trained/seed_0/trained_fasternet_t0', 'trained/seed_1/trained_fasternet_t0']
    """

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    out_dir: str | Path
    options: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, Any] = field(default_factory=dict)
    launcher: Launcher = Launcher()
    trust_checkpoint: bool = False

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds:
            raise UserError('at least one backbone and one seed are needed')
        for names in ([row.name for row in self.rows], [row.label for row in self.rows]):
            if twice := {name for name in names if names.count(name) > 1}:
                raise UserError(f'two backbones are called {", ".join(sorted(twice))}: rename a config')

    def runs(self) -> list['Run']:
        """All trainings: every backbone with the first seed, then with the next."""
        return [Run(self, row, seed) for seed in self.seeds for row in self.rows]


@dataclass(frozen=True)
class Run:
    """One training and its test.

    Args:
        plan: What it belongs to.
        row: Its backbone.
        seed: Its seed.
    """

    plan: TrainingPlan
    row: Row
    seed: int

    @property
    def name(self) -> str:
        """What it is called."""
        return f'{self.row.label}, seed {self.seed}'

    @property
    def folder(self) -> Path:
        """Where its logs and checkpoints are."""
        return Path(self.plan.out_dir) / f'seed_{self.seed}' / self.row.name

    @property
    def options(self) -> dict[str, Any]:
        """What overrides its config."""
        return {**self.plan.options, 'randomness.seed': self.seed}

    def config(self) -> Config:
        """Its config, as its training has it.

        Raises:
            UserError: If it does not train by epochs.
        """
        config = load_config(self.row.config_path, self.options)
        if 'max_epochs' not in config.get('train_cfg', {}):
            raise UserError(f'{self.row.config_path} must train by epochs, but its train_cfg has no max_epochs')
        return config

    def checkpoint(self) -> Path:
        """What its training ends with."""
        return self.folder / f'epoch_{self.config().train_cfg.max_epochs}.pth'

    def train_command(self) -> list[str]:
        """The command that trains it, or resumes its training."""
        # A published schedule is for its own number of GPUs.
        scale = ['--auto-scale-lr'] if 'base_batch_size' in self.config().get('auto_scale_lr', {}) else []
        return self.plan.launcher.train(self.row.config_path, self.folder, [*scale, *self._arguments()])

    def test_command(self) -> list[str]:
        """The command that tests its checkpoint."""
        checkpoint = self.checkpoint()
        return self.plan.launcher.test(self.row.config_path, checkpoint, self.folder / 'test', self._arguments())

    def budget(self) -> dict[str, Any]:
        """What its record must share with those of other runs, to be compared with them."""
        config = self.config()
        changed = {key: value for key, value in self.plan.options.items() if key != 'data_root'}
        budget = dict(
            seed=self.seed,
            epochs=config.train_cfg.max_epochs,
            dataset=config.test_evaluator.ann_file,
            options=changed or None,
        )
        return without_secrets(budget)

    def claim(self) -> None:
        """Write its settings and digests of its data into its folder.

        Raises:
            UserError: If the folder has a training of others.
        """
        claim_work_dir(self.folder, self.config())

    def _arguments(self) -> list[str]:
        trust = ['--trust-checkpoint'] if self.plan.trust_checkpoint else []
        return [*trust, '--cfg-options', *(f'{key}={value}' for key, value in self.options.items())]


def generate_data(plan: TrainingPlan) -> None:
    """Generate the data of the configs that train on generated images.

    Args:
        plan: What is trained.
    """
    for row in plan.rows:
        config = load_config(row.config_path, plan.options)
        if 'shapes' in config:
            make_shapes(config.data_root, **{**config.shapes, **plan.shapes})


def training_lock(folder: str | Path) -> TextIO:
    """Take the lock of a folder of trainings, or wait for it.

    Trainings inherit it, and hold it even if the program that started them is killed.

    Args:
        folder: The folder, made if it is missing.

    Returns:
        The lock, see :func:`~mmfasternet.locks.exclusive`.

    Raises:
        UserError: If the folder can't be written to.

    Example:
        >>> with training_lock('trainings'):
        ...     Path('trainings/lock').exists()
        True
    """
    return exclusive(Path(folder) / 'lock', f'trains in {folder}', wait=True)


def train_in_turn(
    runs: Sequence[Run],
    todo: Sequence[Run],
    lock: TextIO,
    cost: Callable[[Run], float] = lambda run: 1,
    test: bool = True,
) -> Iterator[Run]:
    """Train runs one after the other, each unless its training is complete, and test them, with a progress bar.

    Args:
        runs: All runs that the progress is of.
        todo: Those that are not finished.
        lock: Of :func:`training_lock`.
        cost: Run → its share of all the work, in any unit. Defaults to the same for each.
        test: Whether to test them too. Defaults to True.

    Yields:
        Each run of ``todo`` as soon as it is finished.

    Raises:
        UserError: If a folder has a training of other settings, or a training or a test fails; the message has its last
            line.
    """
    for run in todo:
        run.claim()
    columns = (
        TextColumn('{task.description}', markup=False),
        BarColumn(),
        TextColumn('{task.percentage:.0f} %'),
        TimeElapsedColumn(),
    )
    columns = (*columns, TextColumn('elapsed,'), TimeRemainingColumn(), TextColumn('left'))
    # The estimate looks back over minutes, since iterations of one backbone say little of another's. Once a second: to
    # draw it takes time from the training.
    with end_on_signals(), Progress(*columns, speed_estimate_period=600, refresh_per_second=1) as progress:
        done = sum(cost(run) for run in runs if run not in todo)
        task = progress.add_task('', total=sum(map(cost, runs)), completed=done)
        for run in todo:
            progress.update(task, description=f'training {run.name}')
            _train(run, lock, partial(_show, progress, task, done, cost(run)))
            if test:
                progress.update(task, description=f'testing {run.name}')
                _call(run, run.test_command(), run.folder / 'test.log', lock)
            done += cost(run)
            progress.update(task, completed=done)
            yield run


def _show(progress: Progress, task: TaskID, done: float, cost: float, share: float) -> None:
    progress.update(task, completed=done + share * cost)


def _train(run: Run, lock: TextIO, tell: Callable[[float], object]) -> None:
    """Train a run or resume its training; the finished share of its epochs is told."""
    latest = latest_checkpoint(run.folder)
    if latest is not None and Path(latest).name == run.checkpoint().name:
        return
    epochs = run.config().train_cfg.max_epochs

    def look(lines: list[str]) -> None:
        for line in lines:
            if found := _ITERATION.search(line):
                epoch, iteration, of = map(int, found.groups())
                tell((epoch - 1 + iteration / of) / epochs)

    _call(run, run.train_command(), run.folder / 'train.log', lock, look)


def run_record(run: Run) -> dict:
    """The record of a run that was tested.

    Args:
        run: The run.

    Returns:
        A record of kind 'ap', see docs/records.md, with the run's budget and curves.

    Raises:
        UserError: If the run was not tested.
    """
    budget = run.budget()
    record = ap_record(run.row, newest_metrics(run.folder / 'test'), str(run.checkpoint()), budget['dataset'])
    return {**record, **budget, 'curves': learning_curves(run.folder)}


def learning_curves(folder: str | Path) -> dict[str, list[list[float]]]:
    """What a training logged, also one that was resumed."""
    loss: dict[int, float] = {}
    ap: dict[int, tuple[float, float]] = {}
    # In order of time: what was resumed from a checkpoint replaces what followed that checkpoint before.
    for path in sorted(Path(folder).glob('*/vis_data/scalars.json')):
        text = path.read_text()
        # A kill may have cut the last line.
        for line in text[: text.rfind('\n') + 1].splitlines():
            logged = json.loads(line)
            if 'loss' in logged:
                loss[logged['iter']] = logged['loss']
            elif 'coco/bbox_mAP' in logged:
                ap[logged['step']] = (logged['coco/bbox_mAP'], logged['coco/segm_mAP'])
    return dict(
        loss=[[step, round(value, 4)] for step, value in sorted(loss.items())],
        box_ap=[[step, round(100 * box, 2)] for step, (box, _) in sorted(ap.items())],
        mask_ap=[[step, round(100 * mask, 2)] for step, (_, mask) in sorted(ap.items())],
    )


def _call(
    run: Run, command: list[str], log: Path, lock: TextIO, look: Callable[[list[str]], object] = lambda lines: None
) -> None:
    """Run a command to its end with its output at the end of ``log``."""
    last: deque[str] = deque(maxlen=1)

    def tell(lines: list[str]) -> None:
        last.extend(lines)
        look(lines)

    if status := run_logged(command, log, tell, run.plan.launcher.environment, [lock.fileno()]):
        raise UserError(
            f'{run.name} ended with status {status}: {" ".join(last)} (the complete log is {log}); '
            f'the command was: {shlex.join(command)}'
        )
