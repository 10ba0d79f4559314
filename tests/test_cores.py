"""Cores that may be used, and those that are free, from what the system says."""

import os

import pytest

from mmfasternet import cores


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Four cores of this process, and files of the system as the test writes them: before and after the look."""
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(cores, '_QUOTA', tmp_path / 'cpu.max')
    monkeypatch.setattr(cores, '_TIMES', tmp_path / 'stat')

    def write(before: str, after: str) -> None:
        cores._TIMES.write_text(before)
        monkeypatch.setattr(cores.time, 'sleep', lambda seconds: cores._TIMES.write_text(after))

    return write


def stat(**times: tuple[int, int]) -> str:
    """/proc/stat with the time that each core has worked and idled."""
    lines = [f'{name} {busy} 0 0 {idle} 0 0 0 0 0 0' for name, (busy, idle) in times.items()]
    return '\n'.join(['cpu  1 2 3 4 5 6 7 8 9 10', *lines, 'intr 5'])


@pytest.mark.parametrize(
    'quota, expected', [(None, 4), ('max 100000', 4), ('150000 100000', 2), ('50000 100000', 1), ('800000 100000', 4)]
)
def test_usable_cores_are_those_of_affinity_and_quota(system, quota, expected):
    if quota:
        cores._QUOTA.write_text(quota)
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(
    'busy, expected', [((0, 0, 0, 0), 4), ((100, 100, 0, 0), 2), ((100, 100, 100, 100), 1), ((40, 40, 0, 90), 2)]
)
def test_free_cores_are_idle(system, busy, expected):
    names = ('cpu0', 'cpu1', 'cpu2', 'cpu5')
    others = dict(cpu3=(500, 500), cpu4=(500, 500))
    before = {name: (1000, 2000) for name in names}
    after = {name: (1000 + work, 2100 - work) for name, work in zip(names, busy, strict=True)}
    system(stat(**before, **others), stat(**after, **others))
    assert cores.free_cores() == expected


@pytest.mark.parametrize('text', ['', 'cpu0 1 2', 'cpu0 a b c d e f g h', 'nothing of the kind'])
def test_a_system_that_does_not_say_it_leaves_all(system, text):
    system(text, text)
    assert cores.free_cores() == 4
