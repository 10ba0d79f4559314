"""What a training shows while it runs, and what it leaves for its reader."""

import json
import logging
import re
import signal
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.project import ROOT, run_tool
from helpers.small import write_small_config
from PIL import Image

from mmfasternet.engine.config import load_config
from mmfasternet.engine.outcome import OutcomeHook, describe_outcome
from mmfasternet.engine.terminal import quiet
from mmfasternet.engine.training import train
from mmfasternet.engine.validations import VALIDATIONS, Validation, read_validations, write_validations
from mmfasternet.reports.curves import draw_curves


@pytest.fixture(scope='module')
def small(tmp_path_factory, shapes_root):
    return write_small_config(tmp_path_factory.mktemp('config') / 'small.py', shapes_root)


@pytest.fixture(scope='module')
def trained(small, tmp_path_factory):
    """A training in a terminal: its runner, what the terminal shows, and what the last figure is drawn from."""
    cfg = load_config(small, work_dir=str(tmp_path_factory.mktemp('run') / 'work'))
    cfg.experiment_name = cfg.visualizer.name = 'outcome'
    cfg.default_hooks.checkpoint.save_best = 'auto'
    drawn = []
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as shown:
        patch.setattr('mmfasternet.engine.runner.in_terminal', lambda: True)
        patch.setattr(
            'mmfasternet.engine.outcome.draw_curves', lambda *given: drawn.append(given) or draw_curves(*given)
        )
        runner = train(cfg)
    return SimpleNamespace(runner=runner, shown=shown.getvalue(), drawn=drawn[-1], work_dir=Path(runner.work_dir))


def test_a_terminal_shows_a_bar_and_the_log_has_the_rest(trained, capsys):
    shown, log = trained.shown, next(trained.work_dir.glob('*/*.log')).read_text()
    assert len(re.findall(r'^epoch \d, iteration \d: box AP \d\.\d{3}, mask AP \d\.\d{3}$', shown, re.MULTILINE)) == 3
    assert 'epoch 3/3  loss ' in shown and '9/9' in shown
    for words in ('Config:', 'Epoch(train) [3][3/3]', 'INFO', 'index created'):
        assert words not in shown
    assert 'Config:' in log and 'Epoch(train) [3][3/3]' in log and 'index created' in log


def test_a_logger_is_quiet_for_a_while(trained):
    (handler,) = (handler for handler in trained.runner.logger.handlers if type(handler) is logging.StreamHandler)
    assert handler.level == logging.INFO
    with quiet(trained.runner.logger):
        assert handler.level == logging.WARNING
    assert handler.level == logging.INFO


def test_the_end_names_the_best_checkpoint_and_what_comes_next(trained, small, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['mmfasternet train'])
    lines = describe_outcome(trained.runner, str(small))
    (best,) = trained.work_dir.glob('best_coco_bbox_mAP_epoch_*.pth')
    assert lines[0] == f'best checkpoint: {best}'
    # The complete config, with the options of the command.
    assert lines[-3] == f'  mmfasternet test {trained.work_dir}/small.py {best}'
    assert [line.split()[1] for line in lines[-3:]] == ['test', 'image_demo', 'export']
    # An untrained detector's AP is near zero, and the reason is its scores.
    assert any(line.startswith('box AP is near zero: no score was above 0.3, the highest was 0.') for line in lines)
    with Image.open(trained.work_dir / 'curves.png') as curves:
        assert curves.size[0] > 900
    validated = read_validations(trained.work_dir)
    assert [(entry.iteration, entry.epoch) for entry in validated] == [(3, 1), (6, 2), (9, 3)]


def test_the_highest_score_is_that_of_the_last_validation():
    hook = OutcomeHook()
    for scores in ([0.2, 0.7], [0.1], []):
        hook.before_val_epoch(None)
        hook.after_val_iter(
            None, 0, outputs=[SimpleNamespace(pred_instances=SimpleNamespace(scores=torch.tensor(scores)))]
        )
        assert hook.highest_score == pytest.approx(max(scores, default=0))


def test_curves_hold_the_losses_and_the_validations_in_their_places(trained):
    path, losses, metrics, last, length = trained.drawn
    assert (path, last, length) == (trained.work_dir / 'curves.png', 9, 3)
    parts = np.sum([values for name, values in losses.items() if name != 'loss'], axis=0)
    assert len(parts) == 9 and np.allclose(parts, losses['loss'], rtol=1e-4)
    assert [place for place, _ in metrics['mask AP']] == [3, 6, 9]


@pytest.mark.parametrize(
    'content', ['', '[[1, 2]]', '[[1, 2, {"mIoU": "high"}]]', '[[1, "2", {}]]', '{"a": 1}', '[' * 9999]
)
def test_a_damaged_file_of_validations_tells_of_none(tmp_path, content):
    write_validations(tmp_path, [Validation(5, 1, {'mIoU': 80.0})])
    assert read_validations(tmp_path) == [(5, 1, {'mIoU': 80.0})]
    (tmp_path / VALIDATIONS).write_text(content)
    assert read_validations(tmp_path) == []


@pytest.mark.slow
def test_ctrl_c_ends_with_the_line_that_resumes(small, tmp_path):
    stopping = tmp_path / 'stopping.py'
    stopping.write_text(
        f'_base_ = {str(small)!r}\ncustom_imports = dict(imports=["mmfasternet", "helpers.kill_hook"])\n'
        'custom_hooks = [dict(type="KillHook", at_iter=4, name="SIGINT")]\n'
    )
    command = [ROOT / 'tools/train.py', stopping, '--work-dir', tmp_path / 'the work', '--resume']
    done = run_tool(*command, PYTHONPATH=f'{ROOT}/tests')
    assert done.returncode == 128 + signal.SIGINT
    words = [str(word) for word in command[1:]]
    line = f"stopped; to resume: python {command[0]} {words[0]} --work-dir '{words[2]}' --resume"
    assert done.stdout.splitlines()[-1] == line
    assert json.loads((tmp_path / 'the work' / VALIDATIONS).read_text())[0][:2] == [3, 1]
