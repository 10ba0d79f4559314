"""The script for a board, with a Python and a firmware that are not there."""

import os
import subprocess
from pathlib import Path

import pytest
from helpers.project import ROOT

from mmfasternet.benchmark.records import machine

FAKE_PYTHON = """#!/bin/bash
case "$1 $2" in
'-c import ncnn') exit 0 ;;
'-c import'*) exit 1 ;;
esac
echo "$@" >>"$ASKED"
"""


def run_board(folder: Path, *words: str, throttled: str = '0x0') -> tuple[subprocess.CompletedProcess, list[str]]:
    """The script in a folder; and what its Python was asked."""
    for name, text in (
        ('venv/bin/python', FAKE_PYTHON),
        ('bin/vcgencmd', f'#!/bin/bash\necho throttled={throttled}\n'),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    asked = folder / 'asked.txt'
    environment = os.environ | dict(ASKED=str(asked), VENV='venv', PATH=f'{folder / "bin"}:{os.environ["PATH"]}')
    done = subprocess.run(
        [ROOT / 'tools/benchmark/board.sh', *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    return done, asked.read_text().splitlines() if asked.exists() else []


def test_runtimes_that_are_missing_are_installed_and_the_files_measured(tmp_path):
    files = ['a.ncnn.param', 'a.pte', 'a.xml']
    done, asked = run_board(tmp_path, '--data', 'config.py', *files)
    assert done.returncode == 0, done.stderr
    lock = ROOT / 'requirements/onedl.lock'
    assert asked == [
        f'-m pip install -q --constraint {lock} executorch',
        f'-m pip install -q --constraint {lock} openvino',
        f'{ROOT}/tools/benchmark/artifact.py --out-dir work_dirs/board --data config.py {" ".join(files)}',
    ]
    assert 'Copy work_dirs/board/records.json' in done.stdout and 'slowed down' not in done.stderr


def test_a_board_that_was_slowed_down_is_said(tmp_path):
    done, asked = run_board(tmp_path, 'a.ncnn.param', '--data', 'config.py', '--out-dir', 'here', throttled='0x50005')
    assert done.returncode == 0 and 'the board was slowed down (throttled=0x50005)' in done.stderr
    assert len(asked) == 1 and asked[0].endswith('--out-dir here') and 'Copy here/records.json' in done.stdout
    done, asked = run_board(tmp_path / 'other')
    assert done.returncode == 1 and done.stderr.startswith('error: name the files') and not asked


@pytest.mark.parametrize(
    'cpus, board, name',
    [
        ('model name\t: Some CPU @ 2 GHz\n', 'Some Board', 'Some CPU @ 2 GHz'),
        ('processor\t: 0\nCPU part\t: 0xd0b\n', 'Raspberry Pi 5 Model B Rev 1.0\0', 'Raspberry Pi 5 Model B Rev 1.0'),
        ('processor\t: 0\n', '\0', machine.platform.machine()),
        ('processor\t: 0\n', None, machine.platform.machine()),
    ],
)
def test_a_board_is_named_by_its_firmware(cpus, board, name, tmp_path, monkeypatch):
    for constant, text in (('_CPUS', cpus), ('_BOARD', board)):
        path = tmp_path / constant
        monkeypatch.setattr(machine, constant, path)
        if text is not None:
            path.write_text(text)
    assert machine.describe_machine()['label'] == name
