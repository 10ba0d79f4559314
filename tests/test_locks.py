"""One process at a time holds a lock, and the others learn which."""

import errno
import fcntl
import os
import platform
import subprocess
import sys

import pytest

from mmfasternet.errors import UserError
from mmfasternet.locks import exclusive


def test_a_second_holder_is_refused_until_the_first_has_ended(tmp_path):
    path = tmp_path / 'new' / 'lock'
    with exclusive(path, 'trains in new'):
        who = rf'process {os.getpid()} of {platform.node()}.* trains in new; .*write elsewhere'
        with pytest.raises(UserError, match=who):
            exclusive(path, 'trains in new')
    with exclusive(path, 'trains in new'):
        assert path.exists()
    assert path.exists()


def test_a_closed_or_forgotten_lock_is_free(tmp_path):
    exclusive(tmp_path / 'lock', 'runs').close()
    exclusive(tmp_path / 'lock', 'runs').close()


def test_a_child_that_inherits_the_lock_holds_it_after_its_parent(tmp_path):
    with exclusive(tmp_path / 'lock', 'trains') as lock:
        child = subprocess.Popen(['cat'], stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
        alone = subprocess.Popen(['cat'], stdin=subprocess.PIPE)
    with pytest.raises(UserError, match=f'process {os.getpid()} .*or one that it started, trains'):
        exclusive(tmp_path / 'lock', 'trains')
    child.communicate()
    exclusive(tmp_path / 'lock', 'trains').close()
    alone.communicate()


def test_one_that_waits_says_for_whom(tmp_path, capsys):
    lock = tmp_path / 'lock'
    code = f"""
from mmfasternet.locks import exclusive
with exclusive({str(lock)!r}, 'trains'):
    print('held', flush=True)
    input()
print('over', flush=True)
"""
    holder = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b'held\n'
    waiting = f'from mmfasternet.locks import exclusive; exclusive({str(lock)!r}, "trains", wait=True); print("mine")'
    second = subprocess.Popen([sys.executable, '-c', waiting], stdout=subprocess.PIPE, text=True)
    assert second.stdout.readline() == (
        f'waiting for its end: process {holder.pid} of {platform.node()}, or one that it started, trains\n'
    )
    holder.communicate(b'\n')
    assert second.communicate()[0] == 'mine\n'


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, 'flock', refuse)
    with pytest.warns(UserWarning, match='lock: no locks here'), exclusive(tmp_path / 'lock', 'trains') as lock:
        assert lock.fileno()


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / 'precious').write_text('mine')
    (tmp_path / 'lock').symlink_to(tmp_path / 'precious')
    with pytest.raises(UserError, match='cannot write .*lock'):
        exclusive(tmp_path / 'lock', 'trains')
    assert (tmp_path / 'precious').read_text() == 'mine'


def test_a_folder_that_can_not_be_written_is_one_message():
    with pytest.raises(UserError, match='cannot write /dev/null/out/lock'):
        exclusive('/dev/null/out/lock', 'trains')


def test_a_lock_file_with_anything_in_it(tmp_path):
    with exclusive(tmp_path / 'lock', 'trains'):
        (tmp_path / 'lock').write_bytes(b'\xff\x1b[2K not a number')
        with pytest.raises(UserError, match=r'^another process trains'):
            exclusive(tmp_path / 'lock', 'trains')
