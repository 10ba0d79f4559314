"""A dozen generated images, and a config that trains on them in seconds, for the tests that run tools.

And how tests run side by side, and what is shown of one that fails.
"""

import os
import runpy
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from helpers.project import ROOT

# The processes of `pytest -n` share the cores: more threads than cores slow each other down. torch reads it once.
if processes := os.environ.get('PYTEST_XDIST_WORKER_COUNT'):
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // int(processes))))

from mmfasternet.weights.reader import trust_checkpoints

# Of what a failed test printed: mmengine prints a config, the machine and all hooks for every runner.
LAST_LINES = 20

DEMO_CONFIG = ROOT / 'configs/demo/mask_rcnn_fasternet_t0_shapes.py'


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of what a failed test printed, show the last lines; `-vv` shows all."""
    report = yield
    if item.config.get_verbosity() < 2:
        report.sections = [(name, last_lines(text)) for name, text in report.sections]
    return report


def last_lines(text: str) -> str:
    lines = text.rstrip().splitlines()
    left_out = [f'… {len(lines) - LAST_LINES} lines before (-vv shows them)'] if len(lines) > LAST_LINES else []
    return '\n'.join([*left_out, *lines[-LAST_LINES:]])


@pytest.fixture(scope='session')
def shapes_root(tmp_path_factory) -> Path:
    """Twelve images to train on and six to test on."""
    # Imported here, so that the tests of the backbone need no package for data.
    from mmfasternet.datasets import make_shapes

    return make_shapes(tmp_path_factory.mktemp('data') / 'shapes', num_train=12, num_val=6, size=(96, 128))


@pytest.fixture
def tiny_config(shapes_root, tmp_path) -> Path:
    """The demo's config on those images: three epochs of three iterations."""
    path = tmp_path / 'tiny.py'
    path.write_text(
        f"""_base_ = {str(DEMO_CONFIG)!r}
data_root = {str(shapes_root)!r}
train_dataloader = dict(batch_size=4, dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + '/annotations/instances_val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=3, val_interval=3)
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(max_keep_ckpts=1),
    visualization=dict(type='DetVisualizationHook'),
)
work_dir = {str(tmp_path / 'work')!r}
"""
    )
    return path


@pytest.fixture
def mistake_of(monkeypatch) -> Iterator[Callable[..., str]]:
    """Run a tool in this process, which saves the time of its imports, and return the message of a user's mistake."""

    def run(tool: Path, *arguments: object) -> str:
        monkeypatch.setattr(sys, 'argv', [str(tool), *map(str, arguments)])
        # Anything but SystemExit would be a traceback.
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(tool), run_name='__main__')
        return str(stopped.value)

    yield run
    # A tool sets it for its whole process.
    trust_checkpoints(False)
