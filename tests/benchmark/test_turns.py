"""The clock: who has a turn when, how long it lasts, what is flagged, and what is a tie."""

import time

import pytest
import torch

from mmfasternet.benchmark.measure import memory, turns
from mmfasternet.benchmark.measure.turns import (
    Clock,
    Contender,
    is_tie,
    rotate,
    summarize,
    take_turn,
    time_in_turns,
    use_threads,
)
from mmfasternet.errors import UserError

TURN = dict(times_ms=[9.8, 10.0, 10.2], load_average=1.0, clock_mhz=3000.0)


def test_every_round_begins_with_another_item():
    assert list(rotate('abc', 4)) == [
        *((0, item) for item in 'abc'),
        *((1, item) for item in 'bca'),
        *((2, item) for item in 'cab'),
        *((3, item) for item in 'abc'),
    ]
    assert list(rotate('abc', 0)) == []


@pytest.mark.parametrize('seconds, least', [(0.0, 2), (0.03, 2), (0.001, 1)])
def test_a_turn_lasts_as_long_as_asked_and_has_at_least_a_number_of_runs(seconds, least):
    runs = []

    def run() -> int:
        runs.append(time.sleep(0.002))
        return len(runs)

    turn, output = take_turn(Contender('sleep', run), Clock('cpu', 0.0, seconds, least))
    # One more to warm up.
    assert output == len(runs) == len(turn['times_ms']) + 1
    assert len(turn['times_ms']) >= least
    assert sum(turn['times_ms']) >= 1000 * seconds - 0.01 and min(turn['times_ms']) >= 2


def test_short_runs_are_timed_as_long_as_long_ones_and_few_of_their_times_kept(monkeypatch):
    """A GPU's clock rises within tenths of a second, in which a small network runs a thousand times."""
    now, runs = [0.0], []
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])

    def run() -> None:
        runs.append(now[0])
        now[0] += 0.0001 if now[0] < 0.15 else 0.0002

    turn, _ = take_turn(Contender('tiny', run), Clock('cpu', 0.15, 0.2))
    assert len(runs) == pytest.approx(1500 + 1000, abs=3)
    assert turn['times_ms'] == [0.2] * turns._MOST_KEPT
    assert turns._kept([float(i) for i in range(1000)])[:3] == [0.0, 10.0, 20.0]


def test_runs_are_inside_the_context():
    seen = []
    take_turn(Contender('mode', lambda: seen.append(torch.is_inference_mode_enabled())), Clock(warmup_s=0, turn_s=0))
    take_turn(
        Contender('mode', lambda: seen.append(torch.is_grad_enabled()), context=torch.no_grad),
        Clock(warmup_s=0, turn_s=0),
    )
    assert seen == [True] * 3 + [False] * 3


def test_contenders_take_turns_and_keep_their_figures():
    order = []
    contenders = {
        name: Contender(name, lambda name=name: order.append(name), batch=4, figures=dict(flops=7)) for name in 'ab'
    }
    found = time_in_turns(contenders, Clock(warmup_s=0, turn_s=0), 2, 1, lambda: order.append('|'))
    assert ''.join(order) == 'aaabbb|bbbaaa|'
    assert found['a']['flops'] == 7 and len(found['a']['rounds']) == 2
    assert found['a']['throughput'] == pytest.approx(4000 / found['a']['median_ms'], rel=0.01)


def test_a_precision_that_a_device_lacks_is_one_message():
    def run() -> None:
        raise RuntimeError('"conv2d" not implemented for \'Half\'')

    with pytest.raises(UserError, match='T0 cannot run.*Half'):
        take_turn(Contender('T0', run), Clock())


def test_summary_is_over_all_runs_of_all_rounds():
    rounds = [dict(TURN, times_ms=[9.0, 10.0, 11.0]), dict(TURN, times_ms=[20.0, 30.0])]
    found = summarize(rounds, 'cpu', batch=2, busy_threads=2)
    assert found['median_ms'] == 11.0 and found['quartiles_ms'] == [10.0, 20.0] and found['p90_ms'] == 26.0
    assert found['throughput'] == pytest.approx(181.8182) and found['rounds'] == rounds


def test_flags():
    def flags(**changes: object) -> list[str]:
        return summarize([TURN, dict(TURN, **changes)], 'cpu', batch=1, busy_threads=2)['flags']

    assert flags() == [] and flags(load_average=2.5) == []
    (busy,) = flags(times_ms=[20.0, 20.0, 20.0])
    assert 'quartiles' in busy
    (load,) = flags(load_average=4.0)
    assert '2.0 above' in load
    (clock,) = flags(clock_mhz=2000.0)
    assert '3000 down to 2000' in clock


def test_ties():
    def figures(median: float, *quartiles: float) -> dict:
        return dict(median_ms=median, quartiles_ms=list(quartiles or (median, median)))

    assert is_tie(figures(100), figures(104)) and not is_tie(figures(100), figures(106))
    assert is_tie(figures(100, 90, 125), figures(130, 120, 140)) and is_tie(
        figures(130, 120, 140), figures(100, 90, 125)
    )


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), use_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before


def test_bandwidth_counts_three_tensors(monkeypatch):
    monkeypatch.setattr(memory, '_TRIAD', 2**20)
    monkeypatch.setattr(memory, '_shortest', lambda function, device: function().numel() / 1e9)
    # 12 bytes for each element, of which there are as many as nanoseconds.
    assert memory.bandwidth_gb_s('cpu') == pytest.approx(12)
