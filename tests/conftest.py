"""A dozen generated images, and a config that trains on them in seconds, for the tests that run tools."""

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.project import ROOT

from mmfasternet.weights.reader import trust_checkpoints

DEMO_CONFIG = ROOT / 'configs/demo/mask_rcnn_fasternet_t0_shapes.py'

SLIM = """
model = dict(
    backbone=dict(_delete_=True, type='FasterNet', arch=dict(embed_dims=40, depths=(1, 1, 2, 1))),
    neck=dict(out_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=32),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=32),
        bbox_head=dict(in_channels=32, fc_out_channels=128, num_classes=6),
        mask_roi_extractor=dict(out_channels=32),
        mask_head=dict(num_convs=1, in_channels=32, conv_out_channels=32, num_classes=6),
    ),
)
"""


@pytest.fixture(scope='session')
def shapes_root(tmp_path_factory) -> Path:
    """Twelve images to train on and six to test on."""
    # Imported here, so that the tests of the backbone need no package for data.
    from mmfasternet.datasets import make_shapes

    return make_shapes(tmp_path_factory.mktemp('data') / 'shapes', num_train=12, num_val=6, size=(96, 128))


@pytest.fixture(scope='session')
def slim(tmp_path_factory) -> Path:
    """A config of all parts of Mask R-CNN with FasterNet-T0, with few blocks, and few channels behind the backbone."""
    path = tmp_path_factory.mktemp('config') / 'slim.py'
    path.write_text(f'_base_ = {str(ROOT / "configs/mask_rcnn_fasternet_t0.py")!r}\n{SLIM}')
    return path


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
train_cfg = dict(max_epochs=3, val_begin=1, val_interval=3)
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
def build_runner(tiny_config):
    """Build the tiny config's runner, with settings overridden."""
    # Imported here, since the tests of the backbone need no runner.
    from mmengine.registry import RUNNERS

    from mmfasternet.engine.config import load_config

    def build(**options):
        cfg = load_config(tiny_config, options)
        cfg.experiment_name = f'run_{id(cfg)}'
        return RUNNERS.build(cfg)

    return build


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
