"""The data of a training or a test is checked before any of it is loaded, through the runner and the tools."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from helpers.project import ROOT
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmfasternet.engine.config import load_config
from mmfasternet.engine.training import train
from mmfasternet.errors import UserError

TRAIN = ROOT / 'tools/train.py'


@pytest.fixture
def own(shapes_root, tmp_path):
    """A copy of the tiny data set that a test may spoil."""
    return shutil.copytree(shapes_root, tmp_path / 'own')


def change(root, edit, *splits):
    for split in splits or ('train', 'val'):
        path = root / f'annotations/instances_{split}.json'
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))


def from_zero(content):
    for number, entry in enumerate(content['annotations']):
        entry['id'] = number
        entry.pop('iscrowd', None)


@pytest.mark.parametrize('wrap', ['as it is', 'concatenated'])
def test_repaired_copies_reach_data_sets_and_evaluators(own, tiny_config, tmp_path, wrap, monkeypatch):
    change(own, from_zero)
    cfg = load_config(tiny_config, dict(data_root=str(own)))
    if wrap == 'concatenated':
        inner = cfg.train_dataloader.dataset
        again = dict(type='RepeatDataset', times=2, dataset=inner)
        cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[inner, again])
    cfg.experiment_name = f'repaired {wrap}'
    runner = RUNNERS.build(cfg)
    monkeypatch.setattr(runner, 'load_or_resume', lambda: None)
    monkeypatch.setattr('mmfasternet.engine.loops.ResumableEpochLoop.run', lambda loop: runner.model)
    runner.train()
    dataset = runner.train_dataloader.dataset
    leaf = dataset if wrap == 'as it is' else dataset.datasets[1].dataset
    copies = sorted((tmp_path / 'work/annotations').iterdir())
    assert [copy.name.rpartition('_')[0] for copy in copies] == ['instances_train', 'instances_val']
    assert leaf.ann_file == str(copies[0]) and runner.val_dataloader.dataset.ann_file == str(copies[1])
    evaluated = runner.val_evaluator.metrics[0]._coco_api.dataset['annotations']
    assert [entry['id'] for entry in evaluated] == list(range(1, len(evaluated) + 1))
    assert not any(entry['iscrowd'] for entry in evaluated)
    # The config that is kept names the user's file.
    assert runner.cfg.val_evaluator.ann_file == f'{own}/annotations/instances_val.json'
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    assert log.count('instances_train.json is read from a repaired copy') == 1


def test_a_machine_that_does_not_share_the_work_dir_writes_its_own_copy(own, build_runner, monkeypatch):
    change(own, from_zero)
    runner = build_runner(data_root=str(own))
    real, copies = runner._on_main, []

    def elsewhere(call):
        found = real(call)
        for copy in map(Path, found[0].values()):
            copies.append((copy, copy.read_bytes()))
            copy.unlink()
        return found

    monkeypatch.setattr(runner, '_on_main', elsewhere)
    runner._check_data('train', 'val')
    assert len(copies) == 2 and all(path.read_bytes() == content for path, content in copies)


def test_names_in_the_log_are_escaped(own, build_runner):
    change(own, lambda content: content['images'][0].update(file_name='\x1b[2K.png'), 'train')
    (own / 'train/000001.png').rename(own / 'train/\x1b[2K.png')
    change(own, lambda content: content['images'].append(dict(content['images'][0], id=999)), 'train')
    change(own, lambda content: content['categories'].append(dict(id=99, name='\x1b[2K')), 'train')
    runner = build_runner(data_root=str(own))
    runner._check_data('train')
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    assert "several images have the file_name '\\x1b[2K.png'" in log and '\x1b' not in log


def test_a_fault_in_the_validation_is_found_before_the_training_is_loaded(own, tiny_config, mistake_of, monkeypatch):
    change(own, lambda content: content['annotations'][0].update(bbox=[1, 2, 3]), 'val')
    monkeypatch.setattr(Runner, 'build_dataloader', None)
    text = mistake_of(TRAIN, tiny_config, '--cfg-options', f'data_root={own}')
    assert text.startswith(f'error: {own}/annotations/instances_val.json: annotation ')
    assert '"bbox" must be four finite numbers, but is [1, 2, 3]' in text


def test_a_fault_of_what_is_tested(own, tiny_config, build_runner):
    change(own, lambda content: content['annotations'][0].update(bbox=[1, 2, 3]), 'val')
    runner = build_runner(data_root=str(own))
    for start in (runner.test, runner.val):
        with pytest.raises(UserError, match='"bbox" must be four finite numbers'):
            start()


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ({'bbox': 3, 'mask': 3}, 'roi_head.bbox_head has num_classes=3 and roi_head.mask_head has num_classes=3'),
        ({'bbox': 80, 'mask': 80}, 'set model.roi_head.bbox_head.num_classes=6 model.roi_head.mask_head.num_classes=6'),
        ({'mask': 80}, 'but roi_head.mask_head has num_classes=80; set model.roi_head.mask_head.num_classes=6'),
    ],
)
def test_heads_of_other_classes(build_runner, options, named):
    options = {f'model.roi_head.{part}_head.num_classes': count for part, count in options.items()}
    runner = build_runner(**options)
    with pytest.raises(UserError) as error:
        runner.train()
    assert 'the data set has 6 classes (circle, triangle,' in str(error.value) and named in str(error.value)


def test_no_workers_to_persist(build_runner, tiny_config):
    cfg = load_config(tiny_config, {'train_dataloader.num_workers': 0, 'train_dataloader.persistent_workers': True})
    assert not build_runner().build_dataloader(cfg.train_dataloader).persistent_workers


def test_a_batch_of_one_small_image(build_runner, monkeypatch):
    """What BN says in the middle of a training."""
    runner = build_runner()
    monkeypatch.setattr(Runner, 'train', lambda _: torch.nn.BatchNorm2d(3)(torch.ones(1, 3, 1, 1)))
    with pytest.raises(UserError, match=r'one image of less than 64 pixels a side. Set train_dataloader\.batch_size'):
        runner.train()


OWN = """
custom_imports = dict(imports=['mmfasternet'], allow_failed_imports=False)
model = dict(
    backbone=dict(_delete_=True, type='FasterNet', arch='t0'),
    neck=dict(in_channels=[40, 80, 160, 320]),
)
"""


@pytest.fixture
def foreign(tiny_config, tmp_path):
    """A config that names nothing of this project."""
    cfg = load_config(tiny_config)
    for key in ('custom_imports', 'runner_type', 'work_dir'):
        cfg.pop(key)
    cfg.model.backbone = dict(type='ResNet', depth=18)
    cfg.dump(str(tmp_path / 'foreign.py'))
    return tmp_path / 'foreign.py'


def test_three_lines_in_a_config_of_mmdet(foreign, tmp_path, monkeypatch):
    path = tmp_path / 'mine.py'
    path.write_text(f'_base_ = {str(foreign)!r}\n{OWN}')
    cfg = load_config(path, work_dir=str(tmp_path / 'mine'))
    runs = []
    monkeypatch.setattr('mmfasternet.engine.runner.StrictRunner.train', lambda runner: runs.append(runner))
    train(cfg)
    assert type(runs[0]).__name__ == 'StrictRunner' and type(runs[0].model.backbone).__name__ == 'FasterNet'


@pytest.mark.parametrize(
    ('module', 'name', 'scope', 'expected'),
    [
        ('mmdet.models', 'MaskRCNN', 'None', 'mmdet'),
        ('mmdet.models', 'MaskRCNN', "'mmdet'", 'mmdet'),
        ('mmseg.models', 'EncoderDecoder', 'None', 'mmseg'),
    ],
)
def test_pure_python_configs(foreign, tmp_path, module, name, scope, expected):
    pytest.importorskip(module)
    text = foreign.read_text().replace("type='MaskRCNN'", f'type={name}').replace("type='ResNet'", 'type=FasterNet')
    text = re.sub("default_scope ?= ?'mmdet'", f'default_scope = {scope}', text.replace('depth=18', "arch='t0'"))
    path = tmp_path / 'pure.py'
    path.write_text(f'from {module} import {name}\n\nfrom mmfasternet import FasterNet\n\n{text}')
    cfg = load_config(path, work_dir=str(tmp_path / 'pure'))
    assert cfg.default_scope == expected
    if expected == 'mmdet':
        assert type(RUNNERS.build(cfg).model.backbone).__name__ == 'FasterNet'


def test_the_file_of_a_syntax_error_is_named(tmp_path):
    (tmp_path / 'base.py').write_text('model = dict(\n')
    (tmp_path / 'child.py').write_text("_base_ = './base.py'\n")
    with pytest.raises(UserError, match=r'child\.py cannot be loaded: line \d of .*base\.py \(SyntaxError'):
        load_config(tmp_path / 'child.py')
