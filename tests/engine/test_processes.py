"""What a process starts ends with it, whatever ends it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mmfasternet.engine import processes
from mmfasternet.engine.processes import end_on_signals, run_logged, started

# A command that starts another one, and says who both are.
PAIR = 'sleep 600 & echo $$ $!; wait'


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that has ended may wait for the system to notice.
    with open(f'/proc/{pid}/stat') as file:
        return file.read().rpartition(')')[2].split()[0] != 'Z'


def ends(*pids, seconds=20):
    end = time.monotonic() + seconds
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(is_alive, pids))


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_ends_the_command_and_what_it_started(error):
    with pytest.raises(error), started(['bash', '-c', PAIR], stdout=subprocess.PIPE) as process:
        pids = list(map(int, process.stdout.readline().split()))
        raise error
    assert process.returncode and ends(*pids)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_parent_alone_ends_all(number):
    code = f'from mmfasternet.engine.processes import started\nwith started(["bash", "-c", {PAIR!r}]) as p: p.wait()'
    parent = subprocess.Popen(
        [sys.executable, '-c', code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    pids = list(map(int, parent.stdout.readline().split()))
    parent.send_signal(number)
    assert parent.wait() in (128 + number, -number, 1) and ends(*pids)


def test_a_signal_while_a_command_starts_ends_it_too():
    """In a process of its own, which the signal may end in another way."""
    code = (
        'import os, signal, subprocess\n'
        'from mmfasternet.engine.processes import started\n'
        'real = subprocess.Popen\n'
        'def start(*args, **options):\n'
        '    process = real(*args, **options)\n'
        '    print(process.pid, flush=True)\n'
        '    signal.raise_signal(signal.SIGTERM)\n'
        '    return process\n'
        'subprocess.Popen = start\n'
        'with started(["sleep", "600"]):\n'
        '    print("it should have ended")\n'
    )
    done = subprocess.run([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    (pid,) = map(int, done.stdout.split())
    assert done.returncode == 143 and ends(pid)


def test_one_that_ignores_the_request_is_killed(monkeypatch):
    monkeypatch.setattr(processes, '_GRACE', 0.2)
    with started(['bash', '-c', 'trap "" TERM; echo ready; while :; do sleep 1; done'], stdout=subprocess.PIPE) as one:
        assert one.stdout.readline() == b'ready\n'
    assert one.returncode == -signal.SIGKILL


def test_it_has_time_to_end_by_itself(tmp_path):
    code = f'trap "sleep 0.3; touch {tmp_path}/saved; exit 7" TERM; echo ready; while :; do sleep 0.05; done'
    with started(['bash', '-c', code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
    assert process.returncode == 7 and (tmp_path / 'saved').exists()


def test_an_ignored_signal_stays_ignored():
    """As nohup asks for."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with end_on_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        assert signal.signal(signal.SIGHUP, before) == signal.SIG_IGN
    with pytest.raises(SystemExit) as end, end_on_signals():
        signal.raise_signal(signal.SIGTERM)
    assert end.value.code == 143 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_log_is_kept_and_its_lines_are_told(tmp_path):
    log = tmp_path / 'log'
    log.write_bytes(b'before\n')
    told = []
    code = r"printf 'one\ntwo \303'; sleep 0.3; printf '\251\n\377\nlast' >&2; exit 3"
    assert run_logged(['bash', '-c', code], log, told.extend, {'A': 'b'}) == 3
    assert told == ['one', 'two é', '\ufffd', 'last']
    assert log.read_bytes() == b'before\none\ntwo \xc3\xa9\n\xff\nlast'
