"""From nothing to a trained and tested Mask R-CNN: generate pictures, train on them, test through MIM, draw.

Stopped at any point, it goes on from there when it is run again.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import mmengine
import rich
from mmengine.config import Config
from rich.table import Table

from mmfasternet.benchmark.ap import newest_metrics
from mmfasternet.datasets import draw_sheet, make_shapes, statistics_table
from mmfasternet.errors import UserError
from mmfasternet.runner import latest_checkpoint

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/demo/mask_rcnn_fasternet_t0_shapes.py'
FLOOR = 0.60  # box AP and mask AP that the whole demo must reach


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='a dozen pictures and one epoch: shows that all parts run')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = Config.fromfile(CONFIG)
    data, work, shapes = Path(config.data_root), Path('work_dirs', CONFIG.stem), config.shapes
    options = []
    if args.quick:
        data, work = Path(f'{data}_quick'), Path(f'{work}_quick')
        shapes = dict(shapes, num_train=16, num_val=10)
        options = ['train_cfg.max_epochs=1', 'default_hooks.logger.interval=1']
    # Always named, so that MMDET_DATASETS of somebody who has COCO does not move the demo's data.
    options = ['--cfg-options', f'data_root={data}/', *options]

    times = {}
    with part('generate', times):
        make_shapes(data, **shapes)
    with part('train', times):
        call(sys.executable, ROOT / 'tools/train.py', CONFIG, '--work-dir', work, '--resume', *options)
    checkpoint = Path(latest_checkpoint(work))
    tested, predictions = work / 'test', work / 'predictions.pkl'
    with part('test', times):
        call(*test_command(checkpoint), '--work-dir', tested, '--out', predictions, *options)
    with part('draw', times):
        annotations = data / 'annotations/instances_val.json'
        sheet = draw_sheet(mmengine.load(predictions), annotations, data / 'val', work / 'sheet.png')

    metrics = json.loads(newest_metrics(tested).read_text())
    ap = {'box AP': metrics['coco/bbox_mAP'], 'mask AP': metrics['coco/segm_mAP']}
    rich.print(statistics_table(data), report(ap, times, dict(data=data, checkpoint=checkpoint, sheet=sheet)))
    if not args.quick and min(ap.values()) < FLOOR:
        raise SystemExit(f'demo: box AP and mask AP should both reach {FLOOR:.2f}')


@contextmanager
def part(name: str, times: dict[str, float]) -> Iterator[None]:
    """Announce a part of the demo, and note its seconds."""
    rich.print(f'[bold]demo: {name}[/bold]')
    start = time.perf_counter()
    yield
    times[name] = time.perf_counter() - start


def test_command(checkpoint: Path) -> list[str | Path]:
    """The command that tests the checkpoint through MIM, or without it where MIM is openmim.

    openmim (0.3.9) looks for an installed package's tools in site-packages alone, so that it misses a checkout.
    """
    if any(metadata.distributions(name='onedl-mim')):
        return [Path(sys.executable).with_name('mim'), 'test', 'mmfasternet', CONFIG, '--checkpoint', checkpoint]
    return [sys.executable, ROOT / 'tools/test.py', CONFIG, checkpoint]


def call(*command: str | Path) -> None:
    """Run a command to its end, or end the demo with its failure."""
    status = subprocess.run([str(word) for word in command]).returncode
    if status:
        raise SystemExit(f'demo: stopped, since this ended with status {status}: {" ".join(map(str, command))}')


def report(ap: dict[str, float], times: dict[str, float], files: dict[str, Path]) -> Table:
    """What came out, how long it took and where it lies."""
    table = Table('', 'demo', show_header=False)
    for name, value in ap.items():
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
