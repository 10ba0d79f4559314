"""torchrun ends with the status of the process that ended first, as a scheduler asks."""

import signal
import subprocess
import sys
import time

import pytest
from helpers.project import ROOT, run_tool

from mmfasternet.engine.elastic import launch

ELASTIC = (sys.executable, '-m', 'mmfasternet.engine.elastic', '--standalone', '--nproc_per_node=2')

WORKER = """
import os, pathlib, signal, sys, time
folder, end = pathlib.Path(sys.argv[1]), sys.argv[2]

def stop(number, frame):
    (folder / 'told').write_text(str(int(number)))
    sys.exit(128 + number)

for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, stop)
(folder / os.environ['RANK']).touch()
if os.environ['RANK'] == '0' and end != 'wait':
    if end.startswith('-'):
        os.kill(os.getpid(), -int(end))
    sys.exit(int(end))
time.sleep(60 if end != '0' else 0)
"""


@pytest.fixture
def worker(tmp_path):
    path = tmp_path / 'worker.py'
    path.write_text(WORKER)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(('end', 'status'), [('0', 0), ('1', 1), ('143', 143), ('-9', 137)])
def test_the_status_is_that_of_the_process_that_ended_first(worker, tmp_path, end, status):
    assert run_tool(*ELASTIC, worker, tmp_path, end).returncode == status


@pytest.mark.slow
@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_is_handed_on_and_is_the_status(worker, tmp_path, number, status):
    # Imported here, since torchrun's import sets up logging.
    from torch.distributed.run import get_args_parser

    if number == signal.SIGUSR1 and '--signals-to-handle' not in get_args_parser().format_help():
        pytest.skip("this torch's torchrun hands on no SIGUSR1")
    process = subprocess.Popen([*ELASTIC, worker, tmp_path, 'wait'], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not ((tmp_path / '0').exists() and (tmp_path / '1').exists()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(timeout=60) == status
    assert (tmp_path / 'told').read_text() == str(int(number))


def test_a_port_that_is_taken_is_not_a_lost_machine(monkeypatch):
    # Imported here, since torchrun's import sets up logging.
    from torch.distributed import run

    def fail(arguments: list[str]) -> None:
        raise RuntimeError('The server socket has failed to bind to [::]:29500 (errno: 98 - Address already in use).')

    monkeypatch.setattr(run, 'main', fail)
    monkeypatch.setenv('PET_SIGNALS_TO_HANDLE', 'SIGTERM')
    with pytest.raises(SystemExit, match='another job of this machine has the port; set PORT to another one'):
        launch([])
