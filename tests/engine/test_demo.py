import dataclasses
import json
import os
import runpy
import shutil
import sys
from importlib import metadata
from pathlib import Path

import cv2
import mmengine
import numpy as np
import pytest
import torch
from helpers.project import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmfasternet.datasets import draw_sheet, make_shapes
from mmfasternet.engine import demo
from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError
from mmfasternet.locks import exclusive

CONFIG = ROOT / 'configs/demo/mask_rcnn_fasternet_t0_shapes.py'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_shapes(tmp_path_factory.mktemp('data') / 'shapes', num_train=2, num_val=3)


def results_of(data, **changes):
    """The truth, in the form that mmdet's test.py dumps predictions in."""
    coco = json.loads((data / 'annotations/instances_val.json').read_text())
    results = []
    for image in coco['images']:
        annotations = [annotation for annotation in coco['annotations'] if annotation['image_id'] == image['id']]
        instances = dict(
            labels=torch.tensor([annotation['category_id'] - 1 for annotation in annotations]),
            scores=torch.full((len(annotations),), 0.9),
            masks=[annotation['segmentation'] for annotation in annotations],
        )
        results.append(dict(img_id=image['id'], pred_instances=dict(instances, **changes)))
    return results


def test_config_steps_once(data, tmp_path):
    cfg = load_config(CONFIG, dict(data_root=str(data)), str(tmp_path))
    assert cfg.val_evaluator.ann_file == f'{data}/annotations/instances_val.json'
    init_default_scope(cfg.default_scope)
    cfg.train_dataloader.batch_size = 2
    runner = Runner.from_cfg(cfg)
    before = {name: parameter.clone() for name, parameter in runner.model.named_parameters()}
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    assert batch['inputs'][0].shape == (3, 192, 256)
    losses = runner.model.train().train_step(batch, runner.build_optim_wrapper(cfg.optim_wrapper))
    assert {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_mask'} <= losses.keys()
    assert all(torch.isfinite(loss).all() for loss in losses.values())
    assert all((parameter != before[name]).any() for name, parameter in runner.model.named_parameters())


def test_sheet_shows_truth_and_predictions(data, tmp_path):
    annotations, images = data / 'annotations/instances_val.json', data / 'val'
    sheet = draw_sheet(results_of(data), annotations, images, tmp_path / 'sheet.png')
    perfect = cv2.imread(str(sheet))
    assert perfect.shape == (2 * (192 + 34), 4 * (256 + 12), 3)  # three images in two rows of two pairs
    truth, predicted = np.split(perfect[:226, :536], 2, 1)
    assert (truth == predicted).mean() > 0.9  # but for the title and the scores
    assert (perfect[226:, 536:] == 255).all()

    nothing = cv2.imread(str(draw_sheet(results_of(data), annotations, images, sheet, score=0.95)))
    truth_again, predicted = np.split(nothing[:226, :536], 2, 1)
    # Each sheet has a palette of its own.
    assert np.abs(truth_again.astype(int) - truth).mean() < 4 and (predicted == truth_again).mean() < 0.9

    one = draw_sheet(results_of(data), annotations, images, sheet, count=1)
    assert cv2.imread(str(one)).shape == (226, 1072, 3)


def test_sheet_without_the_image(data, tmp_path):
    with pytest.raises(UserError, match='000001.png cannot be read as an image'):
        draw_sheet(results_of(data), data / 'annotations/instances_val.json', tmp_path, tmp_path / 'sheet.png')


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The demo in an empty folder; what it runs is recorded, and leaves what the tools would."""
    monkeypatch.chdir(tmp_path)
    commands = []

    def run(self, command):
        command = [str(word) for word in command]
        commands.append(command)
        options = dict(zip(command, command[1:], strict=False))
        work, data = Path(options['--work-dir']), Path('data/shapes_quick')
        work.mkdir(parents=True, exist_ok=True)
        if command[1].endswith('train.py'):
            torch.save({}, work / 'epoch_1.pth')
        else:
            run = work / f'20240101_00000{len(commands)}'
            run.mkdir()
            detected = {'coco/bbox_mAP': len(commands) / 10, 'coco/segm_mAP': 0.375}
            metrics = detected if options['--out'].endswith('.pkl') else {'mIoU': 81.25}
            (run / f'{run.name}.json').write_text(json.dumps(metrics))
            if options['--out'].endswith('.pkl'):
                mmengine.dump(results_of(data), options['--out'])
            else:
                shutil.copytree(data / 'semantic/val', options['--out'])

    monkeypatch.setattr(demo.Steps, 'run', run)
    return commands


def run_tool_here(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['demo.py', *arguments])
    runpy.run_path(str(ROOT / 'tools/demo.py'), run_name='__main__')


def test_demo_calls_its_parts_and_reports(commands, monkeypatch, capfd):
    run_tool_here(monkeypatch, '--quick')
    train, test = commands
    assert train[:3] == [sys.executable, str(ROOT / 'tools/train.py'), str(CONFIG)]
    checkpoint = 'work_dirs/mask_rcnn_fasternet_t0_shapes_quick/epoch_1.pth'
    if any(metadata.distributions(name='onedl-mim')):
        assert test[1:6] == ['test', 'mmfasternet', str(CONFIG), '--checkpoint', checkpoint]
    else:  # openmim misses a clone
        assert test[1:4] == [str(ROOT / 'tools/test.py'), str(CONFIG), checkpoint]
    assert '--resume' in train and 'data_root=data/shapes_quick/' in train and 'data_root=data/shapes_quick/' in test
    printed = capfd.readouterr().out
    assert printed.startswith('Four steps, from nothing to Mask R-CNN with FasterNet-T0:\n')
    for plan in (
        'generate  26 images in data/shapes_quick',
        'train     4 iterations, in work_dirs/mask_rcnn_fasternet_t0_shapes_quick\n',
        'test      on 10 images, by ',
        'The log is work_dirs/mask_rcnn_fasternet_t0_shapes_quick/demo.log.',
    ):
        assert plan in printed
    for words in ('0.200', '0.375', 'occluded', 'box AP', 'mask AP', 'sheet.png', 'total'):
        assert words in printed
    assert Path('work_dirs/mask_rcnn_fasternet_t0_shapes_quick/sheet.png').is_file()
    document = json.loads(Path('work_dirs/mask_rcnn_fasternet_t0_shapes_quick/records.json').read_text())
    (record,) = document['records']
    assert record['row'] == CONFIG.stem and record['figures'].items() >= dict(box_ap=0.2, mask_ap=0.375).items()
    assert set(record['figures']) >= {'generate_s', 'train_s', 'test_s', 'draw_s'}

    run_tool_here(monkeypatch, '--quick')  # again: the AP of the newest test counts
    printed = capfd.readouterr().out
    assert (
        '0.400' in printed and 'in work_dirs/mask_rcnn_fasternet_t0_shapes_quick; resumes from epoch_1.pth' in printed
    )


def test_a_changed_config_does_not_take_the_checkpoint_of_the_former(commands, monkeypatch):
    run_tool_here(monkeypatch, '--quick')
    task = demo.TASKS['detection']
    slower = dataclasses.replace(task, quick={**task.quick, 'optim_wrapper.optimizer.lr': 0.5})
    monkeypatch.setitem(demo.TASKS, 'detection', slower)
    with pytest.raises(UserError, match=r'shapes_quick has a training of other settings \(.*lr was .* is now 0\.5'):
        demo.run_demo(quick=True)
    assert len(commands) == 2


def test_one_demo_at_a_time(commands):
    with (
        exclusive('work_dirs/mask_rcnn_fasternet_t0_shapes_quick/demo.lock', 'runs'),
        pytest.raises(UserError, match=f'process {os.getpid()} .*runs the demo in .*shapes_quick'),
    ):
        demo.run_demo(quick=True)
    assert not commands


def test_demo_of_an_installed_wheel_tests_without_mim(monkeypatch):
    """MIM looks for the tools of a clone only."""
    monkeypatch.setattr(demo, 'project_root', lambda: Path('site-packages/mmfasternet/.mim'))
    command = demo._test_command(Path('config.py'), Path('epoch_1.pth'))
    assert [str(word) for word in command] == [
        sys.executable,
        'site-packages/mmfasternet/.mim/tools/test.py',
        'config.py',
        'epoch_1.pth',
    ]


@pytest.mark.parametrize('name, iterations', [('detection', 600), ('segmentation', 1150)])
def test_the_plan_counts_what_the_config_trains(name, iterations):
    config = Config.fromfile(ROOT / 'configs/demo' / f'{demo.TASKS[name].config}.py')
    assert demo._iterations(config, config.shapes.num_train) == iterations


def test_demo_of_segmentation(commands, monkeypatch, capfd):
    run_tool_here(monkeypatch, 'segmentation', '--quick')
    train, test = commands
    config = str(ROOT / 'configs/demo/semantic_fpn_fasternet_t0_shapes.py')
    assert config in train and config in test and 'train_cfg.max_iters=2' in train
    printed = capfd.readouterr().out
    assert 'mIoU' in printed and '0.812' in printed and 'box AP' not in printed
    assert Path('work_dirs/semantic_fpn_fasternet_t0_shapes_quick/sheet.png').is_file()


@pytest.mark.parametrize('task, metrics', [('detection', 'box AP and mask AP'), ('segmentation', 'mIoU')])
def test_the_complete_demo_fails_below_its_floor(commands, monkeypatch, task, metrics):
    monkeypatch.setattr(
        demo, 'make_shapes', lambda root, **_: [make_shapes(at, 2, 3) for at in (root, f'{root}_quick')]
    )
    draw = dataclasses.replace(demo.TASKS[task], floor=0.82, draw=lambda predictions, data, sheet: sheet)
    monkeypatch.setitem(demo.TASKS, task, draw)
    with pytest.raises(SystemExit, match=f'error: {metrics} should reach 0.82'):
        run_tool_here(monkeypatch, task)


def test_demo_ends_with_the_first_failure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failing = [sys.executable, '-c', 'import sys; sys.exit("error: no room left")']
    monkeypatch.setattr(demo.Launcher, 'train', lambda *_: failing)
    log = 'work_dirs/mask_rcnn_fasternet_t0_shapes_quick/demo.log'
    with pytest.raises(UserError, match=f'^no room left\nThe step "train" failed .*: {log}$'):
        demo.run_demo(quick=True)


def test_an_interrupted_demo_says_how_to_resume(commands, monkeypatch):
    def interrupt(root, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, 'make_shapes', interrupt)
    with pytest.raises(SystemExit, match='Interrupted; run the same command to resume'):
        run_tool_here(monkeypatch)
