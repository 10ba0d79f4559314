"""Files and folders are written completely or not at all."""

import json
import os
from pathlib import Path

import pytest
import torch

from mmfasternet.errors import UserError
from mmfasternet.files import replacing, write_file, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_creates_the_folder_and_leaves_nothing_else(tmp_path):
    path = write_json(tmp_path / 'new' / 'a.json', dict(name='é\ud800'))
    assert json.loads(path.read_text()) == dict(name='é\ud800')
    assert names(path.parent) == ['a.json']


def test_the_target_changes_only_at_the_end(tmp_path):
    path = write_file(tmp_path / 'a.txt', b'before')
    with replacing(path) as part:
        part.write_bytes(b'after')
        assert path.read_bytes() == b'before' and part.parent == tmp_path
    assert path.read_bytes() == b'after' and names(tmp_path) == ['a.txt']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file(tmp_path, error):
    path = write_file(tmp_path / 'a.txt', b'before')
    with pytest.raises(error), replacing(path) as part:
        part.write_bytes(b'after')
        raise error
    assert path.read_bytes() == b'before' and names(tmp_path) == ['a.txt']


def test_an_os_error_is_one_message(tmp_path):
    path = write_file(tmp_path / 'a.txt', b'before')
    message = r'a\.txt .*No space left on device.*disk is full; the earlier file stands'
    with pytest.raises(UserError, match=message), replacing(path) as part:
        part.write_bytes(b'after')
        raise OSError(28, 'No space left on device')
    assert path.read_bytes() == b'before' and names(tmp_path) == ['a.txt']


def fill(folder: Path, name: str) -> None:
    folder.mkdir()
    (folder / name).touch()


def test_a_folder_replaces_a_folder(tmp_path):
    fill(tmp_path / 'data', 'before')
    with replacing(tmp_path / 'data') as part:
        fill(part, 'after')
        assert names(tmp_path / 'data') == ['before']
    assert names(tmp_path / 'data') == ['after'] and names(tmp_path) == ['data']


def test_an_exception_leaves_the_old_folder(tmp_path):
    fill(tmp_path / 'data', 'before')
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / 'data') as part:
        fill(part, 'after')
        raise KeyboardInterrupt
    assert names(tmp_path / 'data') == ['before'] and names(tmp_path) == ['data']


def test_a_link_stays_a_link(tmp_path):
    fill(tmp_path / 'elsewhere', 'before')
    (tmp_path / 'data').symlink_to(tmp_path / 'elsewhere')
    with replacing(tmp_path / 'data') as part:
        fill(part, 'after')
    assert (tmp_path / 'data').is_symlink() and names(tmp_path / 'elsewhere') == ['after']


def test_what_can_not_be_replaced_stays(tmp_path):
    fill(tmp_path / 'data', 'before')
    with pytest.raises(UserError, match='cannot write .*data'), replacing(tmp_path / 'data') as part:
        part.touch()
    assert names(tmp_path / 'data') == ['before'] and names(tmp_path) == ['data']


def test_no_permission():
    with pytest.raises(UserError, match='cannot write /dev/null/a.txt'):
        write_file('/dev/null/a.txt', b'')


@pytest.mark.parametrize('writes', [torch.save, lambda value, part: part.write_bytes(bytes(1 << 20))])
def test_a_full_disk_is_one_message_and_leaves_the_old_file(tmp_path, writes):
    """What a full disk refuses, torch says by a RuntimeError of its own; here a limit on the size refuses it."""
    resource, signal = pytest.importorskip('resource'), pytest.importorskip('signal')
    path = write_file(tmp_path / 'a.pth', b'before')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        with pytest.raises(UserError, match=r'cannot write .*a\.pth'), replacing(path) as part:
            writes(torch.zeros(1 << 18), part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b'before' and names(tmp_path) == ['a.pth']


def test_what_torch_says_of_a_full_disk(tmp_path):
    path = write_file(tmp_path / 'a.pth', b'before')
    with pytest.raises(UserError, match=r'a\.pth .*disk is full; the earlier file stands'), replacing(path) as part:
        part.write_bytes(b'after')
        raise RuntimeError('[enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0')
    assert path.read_bytes() == b'before' and names(tmp_path) == ['a.pth']
    with pytest.raises(RuntimeError, match='other'), replacing(path):
        raise RuntimeError('other')


def test_temporary_names_are_not_foreseeable(tmp_path):
    with replacing(tmp_path / 'a.pth') as one, replacing(tmp_path / 'a.pth') as other:
        assert one != other and str(os.getpid()) not in one.name.split('.')
        assert one.match('.*.pth.*.part')  # what a killed run leaves is found by this
        one.touch()
        other.touch()


def test_a_file_has_the_mode_of_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        write_file(tmp_path / 'a.txt', b'')
    finally:
        os.umask(before)
    assert (tmp_path / 'a.txt').stat().st_mode & 0o777 == 0o640


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, 'fsync', lambda descriptor: (synced.append(names(tmp_path)), real(descriptor)))
    write_file(tmp_path / 'a.txt', b'complete')
    before, after = synced
    assert 'a.txt' not in before and len(before) == 1 and after == ['a.txt']


def test_json_has_no_word_for_nan(tmp_path):
    path = write_file(tmp_path / 'a.json', b'before')
    with pytest.raises(ValueError, match='not JSON compliant'):
        write_json(path, dict(score=float('nan')))
    assert path.read_bytes() == b'before'
