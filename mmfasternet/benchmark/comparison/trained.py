"""A latency-vs-AP study from end to end: count, measure, train every backbone with every seed, and test.

What is there already is not made again, so that a stopped study goes on where it was.
"""

import fcntl
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rich
from mmengine.config import Config
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mmfasternet.benchmark.measure.latency import Protocol, measure_latencies, open_document
from mmfasternet.benchmark.published.rows import Row
from mmfasternet.benchmark.records.records import of_kind
from mmfasternet.datasets import make_shapes
from mmfasternet.engine.config import load_config
from mmfasternet.engine.launch import Launcher
from mmfasternet.engine.runner import latest_checkpoint
from mmfasternet.errors import UserError
from mmfasternet.files import write_json

from .ap import ap_record, newest_metrics
from .compare import count_missing

__all__ = ['Run', 'Study', 'learning_curves', 'run_study']


@dataclass(frozen=True)
class Study:
    """What is trained, and how.

    Args:
        rows: The backbones.
        seeds: Each trains every backbone once.
        out_dir: Folder for ``records.json``, and for the trainings in ``seed_N/<row>``.
        options: Settings that override those of every config, dotted key → value. Defaults to {}.
        shapes: Parameters of the generated data that override the configs' own. Defaults to {}.
        launcher: What trains and tests. Defaults to one process.

    Raises:
        UserError: If there is nothing to do.

    Example:
        >>> from mmfasternet.benchmark.published.rows import TRAINED_ROWS
        >>> [run.folder.as_posix() for run in Study(TRAINED_ROWS[:1], seeds=(0, 1), out_dir='work_dirs/compare_trained').runs()]
        ['work_dirs/compare_trained/seed_0/trained_fasternet_t0', 'work_dirs/compare_trained/seed_1/trained_fasternet_t0']
    """

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    out_dir: str | Path
    options: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, Any] = field(default_factory=dict)
    launcher: Launcher = Launcher()

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds:
            raise UserError('a study needs at least one backbone and one seed')
        for names in ([row.name for row in self.rows], [row.label for row in self.rows]):
            if twice := {name for name in names if names.count(name) > 1}:
                raise UserError(f'two backbones of a study are called {", ".join(sorted(twice))}: rename a config')

    @property
    def records(self) -> Path:
        """Its file of records."""
        return Path(self.out_dir) / 'records.json'

    def runs(self) -> list['Run']:
        """All trainings: every backbone with the first seed, then with the next."""
        return [Run(self, row, seed) for seed in self.seeds for row in self.rows]


@dataclass(frozen=True)
class Run:
    """One training of a study and its test.

    Args:
        study: What it belongs to.
        row: Its backbone.
        seed: Its seed.
    """

    study: Study
    row: Row
    seed: int

    @property
    def name(self) -> str:
        """What it is called."""
        return f'{self.row.label}, seed {self.seed}'

    @property
    def folder(self) -> Path:
        """Where its logs and checkpoints are."""
        return Path(self.study.out_dir) / f'seed_{self.seed}' / self.row.name

    @property
    def options(self) -> dict[str, Any]:
        """What overrides its config."""
        return {**self.study.options, 'randomness.seed': self.seed}

    def config(self) -> Config:
        """Its config, as its training has it.

        Raises:
            UserError: If it does not train by epochs.
        """
        config = load_config(self.row.config_path, self.options)
        if 'max_epochs' not in config.get('train_cfg', {}):
            raise UserError(f'{self.row.config_path} should train by epochs: train_cfg lacks max_epochs')
        return config

    def checkpoint(self) -> Path:
        """What its training ends with."""
        return self.folder / f'epoch_{self.config().train_cfg.max_epochs}.pth'

    def train_command(self) -> list[str]:
        """The command that trains it, or goes on with it."""
        # A published schedule is for its own number of GPUs.
        scale = ['--auto-scale-lr'] if 'base_batch_size' in self.config().get('auto_scale_lr', {}) else []
        return self.study.launcher.train(self.row.config_path, self.folder, [*scale, *self._arguments()])

    def test_command(self) -> list[str]:
        """The command that tests its checkpoint."""
        checkpoint = self.checkpoint()
        return self.study.launcher.test(self.row.config_path, checkpoint, self.folder / 'test', self._arguments())

    def budget(self) -> dict[str, Any]:
        """What its record must share with those of other runs, to be compared with them."""
        config = self.config()
        changed = {key: value for key, value in self.study.options.items() if key != 'data_root'}
        return dict(
            seed=self.seed,
            epochs=config.train_cfg.max_epochs,
            dataset=config.test_evaluator.ann_file,
            options=changed or None,
        )

    def _arguments(self) -> list[str]:
        return ['--cfg-options', *(f'{key}={value}' for key, value in self.options.items())]


def run_study(study: Study, protocol: Protocol) -> dict:
    """Bring the records of a study up to date: parameters and FLOPs, latencies, then a training and test of each run.

    Every finished part is saved at once. One training runs at a time: if an earlier study was killed and left one at
    work, this waits for its end.

    Args:
        study: What is trained.
        protocol: How latencies are taken.

    Returns:
        The document of records; those of AP have the run's ``seed``, ``epochs`` and ``curves`` too.

    Raises:
        UserError: If a part fails, or the records are of another budget; what is finished by then is kept.

    Example:
        >>> from mmfasternet.benchmark.published.rows import TRAINED_ROWS
        >>> study = Study(TRAINED_ROWS, seeds=(0,), out_dir='work_dirs/compare_trained')
        >>> document = run_study(study, Protocol(shape=(192, 256), path='deploy'))  # doctest: +SKIP
    """
    with only_one(study.out_dir) as lock:
        document = open_document(study.records, protocol)
        # Before anything takes its time, so that a mistake shows at once.
        todo = [run for run in study.runs() if not is_recorded(run, document)]
        generate(study)
        count_missing(document, study.rows, study.records, protocol.shape)
        document = measure_latencies(list(study.rows), protocol, study.records)
        flops = {record['row']: record['flops_full'] for record in of_kind(document, 'complexity')}
        total = sum(flops[run.row.name] for run in study.runs())
        # The estimate looks back over minutes, since iterations of one backbone say little of another's.
        with training_progress(speed_estimate_period=600) as progress:
            done = total - sum(flops[run.row.name] for run in todo)
            task = progress.add_task('', total=total, completed=done)
            for run in todo:
                for share in carry_out(run, lock):
                    progress.update(task, description=run.name, completed=done + share * flops[run.row.name])
                done += flops[run.row.name]
                record = record_of(run)
                document['records'].append(record)
                write_json(study.records, document)
                progress.console.print(
                    f'{run.name}: box AP {record["box_ap"]:.1f}, mask AP {record["mask_ap"]:.1f}', highlight=False
                )
    return document


@contextmanager
def only_one(folder: str | Path) -> Iterator[int]:
    """Hold the lock of a study; its trainings inherit it, and hold it even when the study itself is killed."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / 'lock', 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            rich.print(f'waiting for the study, or the training that a killed one left, which is at work in {folder}')
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def is_recorded(run: Run, document: dict) -> bool:
    """Whether the document has the AP of the run; an error if it is of another budget."""
    budget = run.budget()
    for record in of_kind(document, 'ap'):
        if (record['row'], record.get('seed')) == (run.row.name, run.seed):
            found = {key: record.get(key) for key in budget}
            if found != budget:
                raise UserError(
                    f'{run.study.records} has {run.name} of another budget ({found}, now it is {budget}); '
                    'name another --out-dir'
                )
            return True
    return False


def generate(study: Study) -> None:
    """Make the generated data of the configs that have some."""
    for row in study.rows:
        config = load_config(row.config_path, study.options)
        if 'shapes' in config:
            make_shapes(config.data_root, **{**config.shapes, **study.shapes})


def training_progress(speed_estimate_period: float = 30) -> Progress:
    """A bar with the time that is left, by how fast it went in the last seconds."""
    columns = TextColumn('{task.description}'), BarColumn(), TextColumn('{task.percentage:.0f} %'), TimeElapsedColumn()
    columns = (*columns, TextColumn('elapsed,'), TimeRemainingColumn(), TextColumn('left'))
    return Progress(*columns, speed_estimate_period=speed_estimate_period)


def carry_out(run: Run, lock: int) -> Iterator[float]:
    """Train and test a run, and give the finished share of its epochs about once a second."""
    yield from train(run, lock)
    for _ in call(run, run.test_command(), run.folder / 'test.log', lock):
        yield 1.0


def train(run: Run, lock: int) -> Iterator[float]:
    """Train a run, or go on with it, unless it is whole, and give the finished share of its epochs."""
    run.folder.mkdir(parents=True, exist_ok=True)
    epochs, log = run.config().train_cfg.max_epochs, run.folder / 'train.log'
    latest = latest_checkpoint(run.folder)
    if latest is None or Path(latest).name != run.checkpoint().name:
        for _ in call(run, run.train_command(), log, lock):
            yield finished_share(log, epochs)


def call(run: Run, command: list[str], log: Path, lock: int) -> Iterator[None]:
    """Run a command to its end with its output in ``log``, and come back about once a second."""
    with open(log, 'wb') as file:
        environment = os.environ | run.study.launcher.environment
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, pass_fds=[lock], stdin=subprocess.DEVNULL
        )
    try:
        while process.poll() is None:
            yield
            try:
                process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                continue
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode:
        last = log.read_text(errors='replace').splitlines()[-1:]
        raise UserError(
            f'{run.name} ended with status {process.returncode}: {" ".join(last)} (the whole log is {log}); '
            f'this was run: {" ".join(command)}'
        )


def finished_share(log: Path, epochs: int) -> float:
    """The share of a training's iterations that its log says are done."""
    found = re.findall(rb'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]', log.read_bytes()[-100_000:])
    if not found:
        return 0.0
    epoch, iteration, of = map(int, found[-1])
    return (epoch - 1 + iteration / of) / epochs


def record_of(run: Run) -> dict:
    budget = run.budget()
    record = ap_record(run.row, newest_metrics(run.folder / 'test'), str(run.checkpoint()), budget['dataset'])
    return {**record, **budget, 'curves': learning_curves(run.folder)}


def learning_curves(folder: str | Path) -> dict[str, list[list[float]]]:
    """What a training logged on its way, also one that was stopped and gone on with.

    Args:
        folder: The run's folder, with mmengine's ``TIME/vis_data/scalars.json``.

    Returns:
        ``loss``, pairs of iteration and training loss, and ``box_ap`` and ``mask_ap``, pairs of epoch and percent
        points on the data of validation.

    Example:
        >>> learning_curves('work_dirs/never_run')
        {'loss': [], 'box_ap': [], 'mask_ap': []}
    """
    loss: dict[int, float] = {}
    ap: dict[int, tuple[float, float]] = {}
    # In order of time: what was gone on with from a checkpoint replaces what came after that before.
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
