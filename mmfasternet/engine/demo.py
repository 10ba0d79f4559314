"""The demo, from nothing to a trained and tested model: generate images, train on them, test, draw."""

import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import mmengine
from mmengine.config import Config
from rich.markup import escape
from rich.table import Table

from mmfasternet.datasets import CLASSES, draw_semantic_sheet, draw_sheet, make_shapes
from mmfasternet.locks import exclusive

from .budget import claim_work_dir
from .checkpoints import latest_checkpoint
from .config import load_config, project_root
from .launch import Launcher
from .steps import Step, Steps
from .testing import newest_metrics
from .validations import main_metrics

__all__ = ['TASKS', 'Outcome', 'run_demo']


@dataclass(frozen=True)
class _Task:
    """What the demo of a task trains and draws.

    Args:
        model: What is trained, as a reader calls it.
        config: Its config, whose ``shapes`` are the arguments of :func:`make_shapes`.
        quick: Options that make the training a very short one.
        seconds: Step → seconds to start it, and for each of its images or iterations, on the machine of
            docs/results/demo. Only their ratios count.
        floor: What every metric must reach in the complete demo.
        predictions: Name of what ``tools/test.py --out`` writes in the work dir.
        draw: Draws a sheet of predictions, given the paths of predictions, data and sheet.
    """

    model: str
    config: str
    quick: dict[str, int]
    seconds: dict[str, tuple[float, float]]
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
            table.add_row(name, escape(str(path)))
        return table


TASKS = dict(
    detection=_Task(
        model='Mask R-CNN',
        config='mask_rcnn_fasternet_t0_shapes',
        quick={'train_cfg.max_epochs': 1},
        seconds=dict(generate=(0, 0.007), train=(6, 0.22), test=(8, 0.35), draw=(0.3, 0)),
        floor=0.60,
        predictions='predictions.pkl',
        draw=lambda predictions, data, sheet: draw_sheet(
            mmengine.load(predictions), data / 'annotations/instances_val.json', data / 'val', sheet
        ),
    ),
    segmentation=_Task(
        model='Semantic FPN',
        config='semantic_fpn_fasternet_t0_shapes',
        quick={'train_cfg.max_iters': 2},
        seconds=dict(generate=(0, 0.007), train=(6, 0.15), test=(7, 0.3), draw=(0.3, 0)),
        floor=0.80,
        predictions='predictions',
        draw=lambda predictions, data, sheet: draw_semantic_sheet(
            predictions, data / 'semantic/val', data / 'val', sheet, CLASSES
        ),
    ),
)


def run_demo(name: str = 'detection', quick: bool = False) -> Outcome:
    """Generate images, train a model on them in a process of its own, test it, and draw its predictions.

    What an earlier run has left in ``data/`` and ``work_dirs/`` of the current folder is resumed. The log is in the
    work dir.

    Args:
        name: One of ``TASKS``. Defaults to 'detection'.
        quick: Whether to use a few images and hardly train on them, which only shows that every part runs. Defaults to
            False.

    Returns:
        The metrics, times and files.

    Raises:
        UserError: If a part fails, with its message or the end of its log; another demo runs in the work dir, or it has
            a training of other settings.
    """
    task = TASKS[name]
    config_file = project_root() / 'configs/demo' / f'{task.config}.py'
    # Five iterations are a second: the bar moves, and the log stays short.
    options = {'default_hooks.logger.interval': 1 if quick else 5, **(task.quick if quick else {})}
    data, work_dir = Path(Config.fromfile(config_file).data_root), Path('work_dirs', task.config)
    if quick:
        data, work_dir = Path(f'{data}_quick'), Path(f'{work_dir}_quick')
    # Always named, so that MMDET_DATASETS, which is for COCO, does not move the demo's data.
    options['data_root'] = f'{data}/'
    config = load_config(config_file, options)
    shapes = dict(config.shapes, num_train=16, num_val=10) if quick else config.shapes
    options = ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]
    tests, predictions, sheet = work_dir / 'test', work_dir / task.predictions, work_dir / 'sheet.png'

    iterations = _iterations(config, shapes['num_train'])
    batches = math.ceil(shapes['num_val'] / config.test_dataloader.batch_size)
    units = dict(generate=shapes['num_train'] + shapes['num_val'], train=iterations, test=batches, draw=1)
    plan = [Step(step, units[step], *task.seconds[step]) for step in units]
    steps = Steps(plan, 'train', work_dir / 'demo.log')
    started = latest_checkpoint(work_dir)
    steps.console.print(
        f'Four steps, from nothing to {task.model} with FasterNet-T0:\n'
        f'  generate  {units["generate"]} images in {data}\n'
        f'  train     {iterations} iterations, in {work_dir}'
        + (f'; resumes from {Path(started).name}\n' if started else '\n')
        + f'  test      on {shapes["num_val"]} images, by {"MIM" if _has_mim() else "tools/test.py"}\n'
        f'  draw      predictions, in {sheet}\n'
        'After ten iterations of training it says how much time is left on this machine.\n'
        'Interrupt it with Ctrl-C at any time; the next run resumes.\n'
        f'The log is {steps.log}.'
    )
    with steps, exclusive(work_dir / 'demo.lock', f'runs the demo in {work_dir}'):
        with steps.step('generate'):
            make_shapes(data, **shapes, on_image=steps.reach)
            claim_work_dir(work_dir, config)
        with steps.step('train'):
            steps.run(Launcher().train(config_file, work_dir, options))
        checkpoint = Path(os.path.relpath(latest_checkpoint(work_dir)))
        with steps.step('test'):
            steps.run([*_test_command(config_file, checkpoint), '--work-dir', tests, '--out', predictions, *options])
        with steps.step('draw'):
            task.draw(predictions, data, sheet)

    metrics = main_metrics(json.loads(newest_metrics(tests).read_text()))
    files = dict(data=data, checkpoint=checkpoint, sheet=sheet)
    return Outcome(task.config, work_dir, metrics, task.floor, steps.seconds, files)


def _iterations(config: Config, images: int) -> int:
    """How many iterations the complete training has."""
    loop = config.train_cfg
    if 'max_iters' in loop:
        return loop.max_iters
    return loop.max_epochs * math.ceil(images / config.train_dataloader.batch_size)


def _has_mim() -> bool:
    """Whether MIM finds tools/test.py.

    onedl-mim finds the tools of a clone and not those of an installed wheel; openmim (0.3.9) misses those of a clone.
    """
    return project_root().name != '.mim' and any(metadata.distributions(name='onedl-mim'))


def _test_command(config: Path, checkpoint: Path) -> list:
    """The command that tests the checkpoint, by MIM where it finds the tool."""
    if _has_mim():
        return [Path(sys.executable).with_name('mim'), 'test', 'mmfasternet', config, '--checkpoint', checkpoint]
    return [sys.executable, project_root() / 'tools/test.py', config, checkpoint]
