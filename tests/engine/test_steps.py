import io
import os
import sys
from types import SimpleNamespace

import pytest

from mmfasternet.engine import steps as module
from mmfasternet.engine.steps import Step, Steps
from mmfasternet.errors import UserError

# 100 seconds in all on the machine of the estimate, of which training takes 80.
PLAN = [Step('generate', 10, start=0, each=1), Step('train', 40, start=0, each=2), Step('test', 5, start=5, each=1)]


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless a test moves it."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, 'time', SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


@pytest.fixture
def log(tmp_path):
    return tmp_path / 'work/demo.log'


def child(code):
    return [sys.executable, '-c', code]


def test_a_line_for_each_tenth_and_one_for_the_speed(log, clock, capsys):
    with Steps(PLAN, 'train', log) as steps:
        with steps.step('generate'):
            for done in range(1, 11):
                clock.now += 2
                steps.reach(done)
        with steps.step('train'):
            clock.now += 30  # imports and a slow start
            for done in range(1, 41):
                clock.now += 3
                steps.reach(done)
        with steps.step('test'):
            clock.now += 20
    assert steps.seconds == dict(generate=20, train=150, test=20)
    assert capsys.readouterr().out.splitlines() == [
        'generate …',
        '10 %: generate 10/10',
        'generate: 20 s',
        'train …',
        '20 %: train 5/40',
        # The plan's 2 s per iteration are 3 s here, so that its remaining 78 s are 117 s.
        'An iteration takes 3.00 s on this machine: about 1 min 57 s left.',
        '30 %: train 10/40, about 1 min 45 s left',
        '40 %: train 15/40, about 1 min 30 s left',
        '50 %: train 20/40, about 1 min 15 s left',
        '60 %: train 25/40, about 1 min 0 s left',
        '70 %: train 30/40, about 45 s left',
        '80 %: train 35/40, about 30 s left',
        '90 %: train 40/40, about 15 s left',
        'train: 150 s',
        'test …',
        'test: 20 s',
    ]


def test_a_resumed_training_starts_from_where_it_stands(log, clock, capsys):
    with Steps(PLAN, 'train', log) as steps:
        with steps.step('generate'):
            pass
        with steps.step('train'):
            for done in (30, 35):
                clock.now += 5
                steps.reach(done)
    printed = capsys.readouterr().out
    assert '70 %: train 30/40\n' in printed  # no speed is measured yet
    assert 'An iteration takes 1.00 s on this machine: about 10 s left.' in printed
    assert '80 %: train 35/40, about 10 s left' in printed


def test_mmengines_lines_move_it_and_all_lines_are_in_the_log(log, monkeypatch):
    reached = []
    monkeypatch.setattr(Steps, 'reach', lambda self, done: reached.append(done))
    lines = [
        'a warning of a library',
        '11/26 11:45:06 - mmengine - INFO - Epoch(train) [1][  5/150]  lr: 1.0e-05  eta: 0:00:12  time: 0.2',
        '11/26 11:45:06 - mmengine - INFO - Epoch(train)  [3][150/150]  lr: 1.0e-05',
        '11/26 11:45:06 - mmengine - INFO - Iter(train) [  25/1150]  lr: 1.0e-05',
        '11/26 11:45:06 - mmengine - INFO - Epoch(val) [3][15/15]  coco/bbox_mAP: 0.7',
        '11/26 11:45:06 - mmengine - INFO - Epoch(test) [ 5/15]    eta: 0:00:04',
        '11/26 11:45:06 - mmengine - INFO - Iter(test) [15/15]    mIoU: 81.0',
    ]
    with Steps(PLAN, 'train', log) as steps, steps.step('train'):
        steps.run(child(f'print({chr(10).join(lines)!r}); import sys; print("on stderr é", file=sys.stderr)'))
        print('and what the step prints itself')
    assert reached == [5, 450, 25, 5, 15]
    command, *written = log.read_text(encoding='utf-8').splitlines()
    assert command.startswith(f'$ {sys.executable} -c')
    assert written == [*lines, 'on stderr é', 'and what the step prints itself']


def test_the_log_of_an_earlier_run_is_kept(log):
    for number in '12':
        with Steps(PLAN, 'train', log) as steps, steps.step('train'):
            steps.run(child(f'print("run", {number})'))
    assert [line for line in log.read_text().splitlines() if line.startswith('run')] == ['run 1', 'run 2']


def test_a_terminal_shows_one_bar(log, clock, monkeypatch):
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '80')
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, 'stdout', terminal)
    with Steps(PLAN, 'train', log) as steps:
        for step in ('generate', 'train'):
            with steps.step(step):
                for done in (5, 10):
                    clock.now += 5
                    steps.reach(done)
                print('not on the terminal')
                steps._bar.refresh()
    printed = terminal.getvalue()
    assert 'train 10/40' in printed and '30 %' in printed and 'about 35 s left' in printed
    assert 'An iteration takes 1.00 s on this machine: about 35 s left.' in printed
    assert '…' not in printed and '20 %:' not in printed and 'not on the terminal' not in printed


def test_a_failure_shows_the_message_of_the_tool(log):
    # As MIM prints it: the tool's message, and then a traceback of its own.
    code = 'import sys; print("error: data is missing;\\nmake it", flush=True); raise RuntimeError("of MIM")'
    with pytest.raises(UserError) as failure, Steps(PLAN, 'train', log) as steps, steps.step('test'):
        steps.run(child(code))
    assert str(failure.value) == (
        f'data is missing;\nmake it\nThe step "test" failed with status 1. Its complete log: {log}'
    )
    assert 'RuntimeError: of MIM' in log.read_text()


def test_a_failure_without_a_message_shows_its_last_lines(log):
    code = 'import sys; [print("line", n) for n in range(100)]; sys.exit(3)'
    with pytest.raises(UserError) as failure, Steps(PLAN, 'train', log) as steps, steps.step('train'):
        steps.run(child(code))
    shown = [f'line {n}' for n in range(85, 100)]
    end = f'The step "train" failed with status 3. Its complete log: {log}'
    assert str(failure.value).splitlines() == ['the last lines are:', *shown, end]


def test_an_interrupt_ends_the_command_too(log, monkeypatch):
    def interrupt(self, done):
        raise KeyboardInterrupt

    monkeypatch.setattr(Steps, 'reach', interrupt)
    code = 'import os, time; print("pid", os.getpid()); print("Iter(train) [1/9]"); time.sleep(600)'
    with pytest.raises(KeyboardInterrupt), Steps(PLAN, 'train', log) as steps, steps.step('train'):
        steps.run(child(code))
    pid = next(int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith('pid'))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_log_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write the log .*demo.log .*; choose another folder'):
        Steps(PLAN, 'train', tmp_path / 'file/demo.log')
