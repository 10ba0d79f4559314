"""Files and folders are written completely or not at all."""

import json
from pathlib import Path

import pytest

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
    with pytest.raises(UserError, match=r'a\.txt .*No space left on device'), replacing(path) as part:
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
