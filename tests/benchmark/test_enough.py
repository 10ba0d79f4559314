"""How often latencies are taken: by a pretended machine, whose models take as long as they are told."""

from dataclasses import dataclass, field
from itertools import cycle, islice

import numpy as np
import pytest

from mmfasternet.benchmark.measure.enough import Enough, ratio_to, take_enough
from mmfasternet.benchmark.measure.intervals import interval, median_interval, ratio_interval
from mmfasternet.benchmark.measure.latency import Protocol
from mmfasternet.benchmark.measure.turns import timed_runs

REFERENCES = dict(a='ref', b='ref', ref='ref')


@dataclass
class Pretended:
    """Models with the times of their rounds, one after the other; a round takes ten seconds."""

    times: dict[str, list[list[float]]]
    flagged: dict[str, int] = field(default_factory=dict)
    found: dict[str, list] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    seconds: float = 0

    def rounds(self, key):
        return self.found.get(key, [])

    def is_flagged(self, key):
        return self.flagged.get(key, 0) > 0

    def take(self, keys):
        self.calls.append(' '.join(keys))
        self.seconds += 10
        for key in keys:
            number = len(self.rounds(key))
            self.found.setdefault(key, []).append(next(islice(cycle(self.times[key]), number, None)))

    def restart(self, keys):
        self.calls.append(f'again {" ".join(keys)}')
        for key in keys:
            self.flagged[key] -= 1
            self.found[key] = []


def take(series, least=2, enough=None):
    take_enough(REFERENCES, series, least, enough, now=lambda: series.seconds)
    return series.calls


STEADY = dict(a=[[10.0] * 3], b=[[20.0] * 3], ref=[[10.0] * 3])


def test_without_a_limit_every_model_has_its_rounds_and_no_more():
    series = Pretended(STEADY, found=dict(a=[[10.0]]))
    assert take(series) == ['a b ref', 'b ref']
    assert [len(series.rounds(key)) for key in REFERENCES] == [2, 2, 2]


def test_what_is_certain_is_not_measured_further():
    assert take(Pretended(STEADY), enough=Enough()) == ['a b ref'] * 2


def test_what_is_not_certain_is_measured_with_the_reference_until_the_time_is_over():
    series = Pretended(dict(STEADY, b=[[20.0] * 3, [30.0] * 3]))
    assert take(series, enough=Enough(budget_s=60)) == ['a b ref'] * 2 + ['b ref'] * 4
    # The first rounds are taken whatever the time.
    assert take(Pretended(STEADY), enough=Enough(budget_s=0)) == ['a b ref'] * 2


def test_more_rounds_make_a_ratio_certain():
    generator = np.random.default_rng(0)
    noisy = [list(generator.normal(20, 1.0, 40)) for _ in range(100)]
    series = Pretended(dict(STEADY, b=noisy))
    take(series, enough=Enough(budget_s=1e9))
    assert 2 < len(series.rounds('b')) < 100
    ratio, (low, high) = ratio_to(series.rounds('b'), series.rounds('ref'))
    assert low < 2 < high and (high - low) / ratio <= 0.03


def test_flagged_latencies_are_taken_again_up_to_three_times():
    calls = take(Pretended(STEADY, flagged=dict(a=1, b=9)), enough=Enough())
    assert calls == ['a b ref'] * 2 + ['again a b', 'a b', 'a b'] + ['again b', 'b', 'b'] * 2
    assert take(Pretended(STEADY, flagged=dict(a=1))) == ['a b ref'] * 2


def test_what_slows_both_down_does_not_widen_their_ratio():
    rounds, reference = [[10.0], [30.0], [20.0]], [[5.0], [15.0], [10.0]]
    assert ratio_interval(rounds, reference) == [2.0, 2.0]
    assert median_interval(rounds) == [10.0, 30.0]
    assert ratio_to([*rounds, [99.0]], reference) == (2.0, [2.0, 2.0])


def test_the_reference_is_certain_of_itself():
    noisy = Pretended(dict(ref=[[10.0, 30.0]]))
    take_enough(dict(ref='ref'), noisy, 1, Enough(), now=lambda: noisy.seconds)
    assert noisy.calls == ['ref'] and ratio_to([[10.0, 30.0]], [[10.0, 30.0]]) == (1.0, [1.0, 1.0])


def test_an_interval_holds_95_percent():
    assert interval(np.arange(1001)) == [25.0, 975.0]
    low, high = median_interval([list(np.random.default_rng(seed).normal(10, 1, 50)) for seed in range(20)])
    # The standard error of the median of a thousand is 1.25 / √1000 = 0.04.
    assert 0.05 < high - low < 0.4 and low < 10 < high


@pytest.mark.parametrize(('seconds', 'runs'), [(0.001, 34), (0.1, 34), (0.5, 7), (10.0, 2)])
def test_a_turn_has_its_share_of_a_hundred_runs_or_of_ten_seconds(seconds, runs, monkeypatch):
    passed = [0.0]
    monkeypatch.setattr('time.perf_counter', lambda: passed[0])

    def run():
        passed[0] += seconds

    clock = Protocol(rounds=3, enough=Enough()).clock
    times, _ = timed_runs(run, 'cpu', clock.turn_s, clock.least_runs, clock.wanted_runs, clock.longest_s)
    assert len(times) == (200 if seconds == 0.001 else runs)
