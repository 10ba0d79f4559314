"""Files are written whole or not at all."""

import json
import os

import pytest

from mmfasternet.errors import UserError
from mmfasternet.files import write_json, write_whole


def test_round_trip_makes_the_folder_and_leaves_nothing_else(tmp_path):
    path = write_json(tmp_path / 'new' / 'a.json', dict(name='é\ud800'))
    assert json.loads(path.read_text()) == dict(name='é\ud800')
    assert [item.name for item in path.parent.iterdir()] == ['a.json']


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = write_whole(tmp_path / 'a.txt', b'before')

    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(UserError, match=r'can not write .*a\.txt \(No space left on device\)'):
        write_whole(path, b'after')
    assert path.read_bytes() == b'before' and len(list(tmp_path.iterdir())) == 1


def test_no_permission(tmp_path):
    with pytest.raises(UserError, match='can not write /dev/null/a.txt'):
        write_whole('/dev/null/a.txt', b'')
