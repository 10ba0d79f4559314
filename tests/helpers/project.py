"""Where the project lies, and its commands in processes of their own."""

import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
#: Whether this torch can export complete models.
EXPORTS = torch.__version__ >= (2, 9)


def run_tool(*command: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Run a command of this project in a process of its own."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, **environment}
    environment['PYTHONPATH'] = os.pathsep.join([str(ROOT), environment.get('PYTHONPATH', '')])
    words = [str(word) for word in command]
    if words[0].endswith('.py'):
        words.insert(0, sys.executable)
    # Only for what hangs: under emulation, or on a small board, a training takes many minutes.
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=3600)


def succeed(*command: object, **options) -> subprocess.CompletedProcess:
    """Run a command as :func:`run_tool` does; where it fails, the test fails with the last lines of its output."""
    __tracebackhide__ = True
    done = run_tool(*command, **options)
    if done.returncode != 0:
        lines = f'{done.stdout}\n{done.stderr}'.rstrip().splitlines()[-20:] or ['']
        reason = f'{shlex.join(map(str, command))} ended with {done.returncode}: {lines[-1]}'
        raise AssertionError('\n'.join([reason, *lines]))
    return done


def run_in_process(*command: object) -> None:
    """Run a Python tool here, without the ten seconds that a process of its own may take to import."""
    words = [str(word) for word in command]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', words)
        runpy.run_path(words[0], run_name='__main__')
