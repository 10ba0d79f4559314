"""The demo, from nothing to a trained and tested model: generate images, train on them, test, draw."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import mmengine
import rich
from mmengine.config import Config
from rich.table import Table

from mmfasternet.datasets import CLASSES, draw_semantic_sheet, draw_sheet, make_shapes
from mmfasternet.errors import UserError

from .config import project_root
from .launch import Launcher
from .runner import latest_checkpoint
from .testing import newest_metrics

__all__ = ['TASKS', 'Outcome', 'run_demo']


@dataclass(frozen=True)
class _Task:
    """What the demo of a task trains and draws.

    Args:
        config: Its config, whose ``shapes`` are the arguments of :func:`make_shapes`.
        quick: Options that make the training a very short one.
        metrics: Name of each metric → its name in the evaluator, and the evaluator's value for a perfect result.
        floor: What every metric must reach in the complete demo.
        predictions: Name of what ``tools/test.py --out`` writes in the work dir.
        draw: Draws a sheet of predictions, given the paths of predictions, data and sheet.
    """

    config: str
    quick: tuple[str, ...]
    metrics: dict[str, tuple[str, float]]
    floor: float
    predictions: str
    draw: Callable[[Path, Path, Path], Path]


@dataclass(frozen=True)
class Outcome:
    """What the demo leaves.

    Args:
        config: Name of the config that was trained.
        work_dir: Its work dir.
        metrics: Name → value from 0 to 1.
        floor: What every metric must reach in the complete demo.
        seconds: Part of the demo → how long it took.
        files: ``data``, ``checkpoint`` and ``sheet``.
    """

    config: str
    work_dir: Path
    metrics: dict[str, float]
    floor: float
    seconds: dict[str, float]
    files: dict[str, Path]

    @property
    def table(self) -> Table:
        """A table for ``rich.print``."""
        table = Table('', '', show_header=False)
        for name, value in self.metrics.items():
            table.add_row(name, f'{value:.3f}')
        table.add_section()
        for name, seconds in self.seconds.items():
            table.add_row(name, f'{seconds:.0f} s')
        table.add_row('total', f'{sum(self.seconds.values()):.0f} s')
        table.add_section()
        for name, path in self.files.items():
            table.add_row(name, str(path))
        return table


TASKS = dict(
    detection=_Task(
        config='mask_rcnn_fasternet_t0_shapes',
        quick=('train_cfg.max_epochs=1',),
        metrics={'box AP': ('coco/bbox_mAP', 1), 'mask AP': ('coco/segm_mAP', 1)},
        floor=0.60,
        predictions='predictions.pkl',
        draw=lambda predictions, data, sheet: draw_sheet(
            mmengine.load(predictions), data / 'annotations/instances_val.json', data / 'val', sheet
        ),
    ),
    segmentation=_Task(
        config='semantic_fpn_fasternet_t0_shapes',
        quick=('train_cfg.max_iters=2',),
        metrics={'mIoU': ('mIoU', 100)},
        floor=0.80,
        predictions='predictions',
        draw=lambda predictions, data, sheet: draw_semantic_sheet(
            predictions, data / 'semantic/val', data / 'val', sheet, CLASSES
        ),
    ),
)


def run_demo(name: str = 'detection', quick: bool = False) -> Outcome:
    """Generate images, train a model on them in a process of its own, test it through MIM, and draw its predictions.

    What an earlier run has left in ``data/`` and ``work_dirs/`` of the current folder is resumed.

    Args:
        name: One of ``TASKS``. Defaults to 'detection'.
        quick: Whether to use a few images and hardly train on them, which only shows that every part runs. Defaults to
            False.

    Returns:
        The metrics, times and files.

    Raises:
        UserError: If a part fails; its own messages are printed.
    """
    task = TASKS[name]
    config_file = project_root() / 'configs/demo' / f'{task.config}.py'
    config = Config.fromfile(config_file)
    data, work_dir, shapes = Path(config.data_root), Path('work_dirs', task.config), config.shapes
    options = []
    if quick:
        data, work_dir = Path(f'{data}_quick'), Path(f'{work_dir}_quick')
        shapes = dict(shapes, num_train=16, num_val=10)
        options = [*task.quick, 'default_hooks.logger.interval=1']
    # Always named, so that MMDET_DATASETS, which is for COCO, does not move the demo's data.
    options = ['--cfg-options', f'data_root={data}/', *options]

    seconds = {}
    with _part('generate', seconds):
        make_shapes(data, **shapes)
    with _part('train', seconds):
        _call(Launcher().train(config_file, work_dir, options))
    checkpoint = Path(latest_checkpoint(work_dir))
    tests, predictions = work_dir / 'test', work_dir / task.predictions
    with _part('test', seconds):
        _call([*_test_command(config_file, checkpoint), '--work-dir', tests, '--out', predictions, *options])
    with _part('draw', seconds):
        sheet = task.draw(predictions, data, work_dir / 'sheet.png')

    found = json.loads(newest_metrics(tests).read_text())
    metrics = {metric: found[key] / perfect for metric, (key, perfect) in task.metrics.items()}
    files = dict(data=data, checkpoint=checkpoint, sheet=sheet)
    return Outcome(task.config, work_dir, metrics, task.floor, seconds, files)


@contextmanager
def _part(name: str, seconds: dict[str, float]) -> Iterator[None]:
    """Announce a part of the demo, and record how long it takes."""
    rich.print(f'[bold]demo: {name}[/bold]')
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _test_command(config: Path, checkpoint: Path) -> list:
    """The command that tests the checkpoint, by MIM if it is onedl-mim.

    openmim (0.3.9) looks for the tools of an installed package in site-packages alone, and so misses those of a clone.
    """
    if any(metadata.distributions(name='onedl-mim')):
        return [Path(sys.executable).with_name('mim'), 'test', 'mmfasternet', config, '--checkpoint', checkpoint]
    return [sys.executable, project_root() / 'tools/test.py', config, checkpoint]


def _call(command: list) -> None:
    """Run a command to its end."""
    words = [str(word) for word in command]
    if status := subprocess.run(words).returncode:
        raise UserError(f'a part of the demo failed with status {status}, see above; it was: {" ".join(words)}')
