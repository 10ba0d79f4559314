"""Records that others send: each thing that can't be true is one sentence."""

import pytest
from helpers.made_up import CPU, complexity, latency
from helpers.project import ROOT

from mmfasternet.benchmark.comparison.sent import doubts_of, faults_of, read_sent
from mmfasternet.benchmark.records import Records
from mmfasternet.benchmark.records.machine import machine_id

MACHINE = dict(CPU, id=machine_id(CPU))
TRUE = dict(rounds=[dict(times_ms=[100.0] * 3)], interval_ms=[99.0, 101.0])


def judged(*records: dict, machine: dict = MACHINE) -> tuple[list[str], list[str]]:
    file = Records(machine, records=records)
    return list(faults_of(file)), list(doubts_of(file))


def test_what_is_possible_has_no_fault():
    assert judged(complexity('a', 200, parts=dict(backbone=dict(flops_full=93e9))), latency('a', 1000.0)) == (
        ['a, backbone: it has no rounds with times'],
        ['some latencies have no 95 % interval: they are of an older version'],
    )
    assert judged(latency('a', 100.0, **TRUE)) == ([], [])
    assert read_sent(ROOT / 'docs/results/compare/records.json')[1] == []


@pytest.mark.parametrize(
    ('changes', 'fault'),
    [
        (dict(quartiles_ms=[110.0, 120.0]), 'the median 100.0 ms is not between the quartiles 110.0 and 120.0 ms'),
        (dict(p90_ms=50.0), 'is not between the quartiles'),
        (dict(rounds=[dict(times_ms=[200.0])]), 'the median is 100.0 ms, but that of its times 200 ms'),
        (dict(rounds=[dict(times_ms=['fast'])]), 'it has no rounds with times'),
    ],
)
def test_what_cannot_be_true(changes, fault):
    (found,), _ = judged(latency('a', 100.0, **{**TRUE, **changes}))
    assert found.startswith('a, backbone: ') and fault in found


def test_a_latency_below_its_flops():
    counted = complexity('a', 200, parts=dict(backbone=dict(flops_full=93e9)))
    fast = dict(TRUE, rounds=[dict(times_ms=[50.0])])
    # 93 G at 432 GMAC/s for each of two threads take 107.6 ms.
    (found,), _ = judged(counted, latency('a', 50.0, **fast))
    assert found == 'a, backbone: 50.0 ms is less than the 108 ms that its FLOPs take on any CPU'


def test_a_machine_that_is_another():
    (found,), _ = judged(latency('a', 100.0, **TRUE), machine=CPU)
    assert found == f'the id of the machine is c0ffee00, but that of its fields is {machine_id(CPU)}'


def test_doubts():
    busy = latency('a', 100.0, **TRUE, flags=['something ran'], commit='0123456+')
    assert judged(busy, latency('b', 100.0, **TRUE))[1] == [
        '1 of 2 latencies are flagged: a, backbone',
        'the code differed from a commit, or it is not known: 0123456+',
    ]


def test_tool_judges(mistake_of, tmp_path):
    path = tmp_path / 'sent.json'
    Records(CPU, path, [latency('a', 100.0, **TRUE)]).save()
    message = mistake_of(ROOT / 'tools/benchmark/compare.py', '--check', path)
    assert message.startswith(f'error: {path} cannot be true:') and 'the id of the machine is c0ffee00' in message
