"""From nothing to a trained and tested model: generate pictures, train on them, test through MIM, draw.

Mask R-CNN by default, or with `segmentation` Semantic FPN, each with FasterNet-T0. Stopped at any point, it goes on
from there when it is run again.
"""

import argparse
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
import torch
from mmengine.config import Config
from rich.table import Table

from mmfasternet.benchmark.comparison.ap import newest_metrics
from mmfasternet.benchmark.records.records import describe_machine, new_document, provenance
from mmfasternet.datasets import CLASSES, draw_semantic_sheet, draw_sheet, make_shapes, statistics_table
from mmfasternet.engine.runner import latest_checkpoint
from mmfasternet.errors import UserError
from mmfasternet.files import write_json

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Task:
    """What the demo of a task trains and shows.

    Args:
        config: Its config, whose ``shapes`` are the parameters of the pictures.
        quick: Options that make the training a very short one.
        metrics: Name of each metric, from 0 to 1 → how its evaluator calls it, and the number it gives for 1.
        floor: What every metric must reach in the whole demo.
        predictions: Name of what ``tools/test.py --out`` writes in the work dir.
        draw: Draws a sheet of predictions: their path, the data's folder, the sheet.
    """

    config: Path
    quick: tuple[str, ...]
    metrics: dict[str, tuple[str, float]]
    floor: float
    predictions: str
    draw: Callable[[Path, Path, Path], Path]


TASKS = dict(
    detection=Task(
        config=ROOT / 'configs/demo/mask_rcnn_fasternet_t0_shapes.py',
        quick=('train_cfg.max_epochs=1',),
        metrics={'box AP': ('coco/bbox_mAP', 1), 'mask AP': ('coco/segm_mAP', 1)},
        floor=0.60,
        predictions='predictions.pkl',
        draw=lambda predictions, data, sheet: draw_sheet(
            mmengine.load(predictions), data / 'annotations/instances_val.json', data / 'val', sheet
        ),
    ),
    segmentation=Task(
        config=ROOT / 'configs/demo/semantic_fpn_fasternet_t0_shapes.py',
        quick=('train_cfg.max_iters=2',),
        metrics={'mIoU': ('mIoU', 100)},
        floor=0.80,
        predictions='predictions',
        draw=lambda predictions, data, sheet: draw_semantic_sheet(
            predictions, data / 'semantic/val', data / 'val', sheet, CLASSES
        ),
    ),
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('task', nargs='?', choices=TASKS, default='detection', help='default: detection')
    parser.add_argument('--quick', action='store_true', help='a dozen pictures, hardly trained on: shows that all runs')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    task = TASKS[args.task]
    config = Config.fromfile(task.config)
    data, work, shapes = Path(config.data_root), Path('work_dirs', task.config.stem), config.shapes
    options = []
    if args.quick:
        data, work = Path(f'{data}_quick'), Path(f'{work}_quick')
        shapes = dict(shapes, num_train=16, num_val=10)
        options = [*task.quick, 'default_hooks.logger.interval=1']
    # Always named, so that MMDET_DATASETS of somebody who has COCO does not move the demo's data.
    options = ['--cfg-options', f'data_root={data}/', *options]

    times = {}
    with part('generate', times):
        make_shapes(data, **shapes)
    with part('train', times):
        call(sys.executable, ROOT / 'tools/train.py', task.config, '--work-dir', work, '--resume', *options)
    checkpoint = Path(latest_checkpoint(work))
    tested, predictions = work / 'test', work / task.predictions
    with part('test', times):
        call(*test_command(task.config, checkpoint), '--work-dir', tested, '--out', predictions, *options)
    with part('draw', times):
        sheet = task.draw(predictions, data, work / 'sheet.png')

    tested_as = json.loads(newest_metrics(tested).read_text())
    metrics = {name: tested_as[theirs] / one for name, (theirs, one) in task.metrics.items()}
    write_json(work / 'records.json', records(args.task, task.config.stem, metrics, times))
    rich.print(statistics_table(data), report(metrics, times, dict(data=data, checkpoint=checkpoint, sheet=sheet)))
    if not args.quick and min(metrics.values()) < task.floor:
        raise SystemExit(f'demo: {" and ".join(metrics)} should reach {task.floor:.2f}')


@contextmanager
def part(name: str, times: dict[str, float]) -> Iterator[None]:
    """Announce a part of the demo, and note its seconds."""
    rich.print(f'[bold]demo: {name}[/bold]')
    start = time.perf_counter()
    yield
    times[name] = time.perf_counter() - start


def test_command(config: Path, checkpoint: Path) -> list[str | Path]:
    """The command that tests the checkpoint through MIM, or without it where MIM is openmim.

    openmim (0.3.9) looks for an installed package's tools in site-packages alone, so that it misses a checkout.
    """
    if any(metadata.distributions(name='onedl-mim')):
        return [Path(sys.executable).with_name('mim'), 'test', 'mmfasternet', config, '--checkpoint', checkpoint]
    return [sys.executable, ROOT / 'tools/test.py', config, checkpoint]


def call(*command: str | Path) -> None:
    """Run a command to its end, or end the demo with its failure."""
    status = subprocess.run([str(word) for word in command]).returncode
    if status:
        raise SystemExit(f'demo: stopped, since this ended with status {status}: {" ".join(map(str, command))}')


def records(task: str, row: str, metrics: dict[str, float], times: dict[str, float]) -> dict:
    """What came out and how many seconds each part took, as docs/records.md has it."""
    figures = {name.lower().replace(' ', '_'): round(value, 4) for name, value in metrics.items()}
    figures |= {f'{name}_s': round(seconds, 1) for name, seconds in times.items()}
    record = dict(kind='study', study='demo', row=row, label=task, settings={}, figures=figures, **provenance())
    return dict(new_document(describe_machine('cpu', torch.get_num_threads())), records=[record])


def report(metrics: dict[str, float], times: dict[str, float], files: dict[str, Path]) -> Table:
    """What came out, how long it took and where it lies."""
    table = Table('', 'demo', show_header=False)
    for name, value in metrics.items():
        table.add_row(name, f'{value:.3f}')
    table.add_section()
    for name, seconds in times.items():
        table.add_row(name, f'{seconds:.0f} s')
    table.add_row('together', f'{sum(times.values()):.0f} s')
    table.add_section()
    for name, path in files.items():
        table.add_row(name, str(path))
    return table


if __name__ == '__main__':
    try:
        main()
    except (OSError, UserError) as error:
        raise SystemExit(f'demo: {error}') from None
    except KeyboardInterrupt:
        raise SystemExit('demo: stopped; run it again and it goes on from here') from None
