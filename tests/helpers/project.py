"""Where the project lies, and its commands in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_tool(*command: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Run a command of this project in a process of its own."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, **environment}
    environment['PYTHONPATH'] = os.pathsep.join([str(ROOT), environment.get('PYTHONPATH', '')])
    words = [str(word) for word in command]
    if words[0].endswith('.py'):
        words.insert(0, sys.executable)
    # Only for what hangs: under emulation, or on a small board, a training takes an hour.
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=4 * 3600)
