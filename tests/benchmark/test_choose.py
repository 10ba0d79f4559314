"""The chooser: what is measured and in which order, the answer by value, and each mistake as one message."""

import sys
from dataclasses import dataclass, field
from functools import partial

import pytest
from helpers.project import ROOT, run_in_process

from mmfasternet.benchmark.comparison import choose as module
from mmfasternet.benchmark.comparison.answer import Answer, answer_lines
from mmfasternet.benchmark.comparison.candidates import Candidate, Wish, find_candidates
from mmfasternet.benchmark.comparison.choose import choose, choose_published, config_to_train
from mmfasternet.benchmark.comparison.collect import ReportRow, collect
from mmfasternet.benchmark.measure.enough import Enough
from mmfasternet.benchmark.published.rows import Published, Row, find_row
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError

TOOL = ROOT / 'tools/choose.py'


def row(name: str, box: float | None, family: str = 'Other', mask: float = 30.0) -> ReportRow:
    figures = box and Published('A paper', box, None, None, mask, None, None)
    return ReportRow(name, name, family, f'configs/{name}.py', '1x', figures)


def latency(ms: float, low: float | None = None, high: float | None = None, rounds: int = 3) -> dict:
    limits = [low or ms, high or ms]
    return dict(median_ms=ms, quartiles_ms=limits, interval_ms=limits, flags=[], rounds=[{}] * rounds)


@dataclass
class Pretended:
    """Latencies by name of the row; the first round may differ from what the row settles at."""

    settled: dict[str, float]
    first: dict[str, float] = field(default_factory=dict)
    found: dict[str, dict] = field(default_factory=dict)
    calls: list[tuple[str, bool]] = field(default_factory=list)

    def latency(self, row):
        return self.found.get(row.name)

    def is_settled(self, row):
        return len(self.found[row.name]['rounds']) == 3

    def measure(self, rows, settle):
        for one in rows:
            self.calls.append((one.name, settle))
            ms = self.settled[one.name] if settle else self.first.get(one.name, self.settled[one.name])
            self.found[one.name] = latency(ms, rounds=3 if settle else 1)


def candidate(name: str, ap: float, flops: float, family: str = 'Other') -> Candidate:
    return Candidate(row(name, ap, family), ap, params_m=flops / 3, flops_g=flops)


ROWS = [
    candidate('tiny', 36.0, 10),
    candidate('small', 40.0, 30),
    candidate('old', 39.0, 40),
    candidate('faster', 39.9, 90, 'FasterNet'),
    candidate('large', 44.0, 120),
]
MS = dict(tiny=100, small=300, old=350, faster=450, large=900)


def test_only_what_can_still_win_is_measured_with_the_fewest_flops_first():
    measurer, said = Pretended(MS), []
    answer = choose(ROWS, Wish(budget_ms=500), measurer, said.append)
    first = [name for name, settle in measurer.calls if not settle]
    # Neither `old` nor `faster` has more AP than `small`, which meets the budget.
    assert first == ['tiny', 'small', 'large']
    assert [name for name, settle in measurer.calls if settle] == ['tiny', 'small', 'large']
    assert [one.label for one in answer.front] == ['tiny', 'small']
    assert (answer.choice.label, answer.up.label, answer.down.label, answer.ours) == ('small', 'large', 'tiny', None)
    assert said == ['so far: tiny, box AP 36.0, 100.0 ms', 'so far: small, box AP 40.0, 300.0 ms']
    calls = list(measurer.calls)
    choose(ROWS, Wish(budget_ms=500), measurer, said.append)
    assert measurer.calls == calls


def test_what_settles_beyond_the_budget_lets_others_win_again():
    measurer = Pretended(dict(MS, small=600), first=dict(small=490))
    answer = choose(ROWS, Wish(budget_ms=500), measurer, lambda text: None)
    assert answer.choice.label == 'faster' and answer.up.label == 'small'
    assert ('old', False) in measurer.calls and ('faster', True) in measurer.calls


def test_what_no_run_can_be_short_enough_for_is_not_measured():
    measurer = Pretended(MS)
    with pytest.raises(UserError, match=r'no backbone meets 50 ms: the fastest of the 1 .* is tiny with 100 ms'):
        choose(ROWS, Wish(budget_ms=50), measurer, print, least_ms=lambda one: one.flops_g * 6)
    assert measurer.calls == [('tiny', False)]


def answer_of(budget: float, *known: Candidate) -> str:
    return ' '.join(answer_lines(Answer(Wish(budget), known)))


def at(name: str, ap: float, figures: dict, family: str = 'Other', flops: float = 10.0) -> Candidate:
    return Candidate(row(name, ap, family), ap, flops, flops, figures)


def test_where_fasternet_stands():
    faster = at('Faster', 39.9, latency(450), 'FasterNet', 90)
    rival = at('Rival', 39.8, latency(180), flops=27)
    said = answer_of(500, faster, rival)
    rival_has = 'Rival has box AP 39.8 in 0.40 of its time, with 0.30 of its FLOPs and 0.30 of its parameters.'
    tie = f'FasterNet is the choice by a tie in box AP alone: Faster (box AP 39.9, 450 ms), but {rival_has}'
    assert said.startswith(tie)
    beaten = answer_of(500, faster, rival, at('Better', 41.0, latency(460)))
    assert beaten.startswith(f'FasterNet is not the choice: Faster (box AP 39.9, 450 ms) is beaten, since {rival_has}')
    assert 'A tie in box AP (within 0.5): Rival, 39.8, at 0.40 of its latency.' in said
    assert answer_of(500, faster).startswith('FasterNet is the choice: Faster (box AP 39.9, 450 ms).')
    assert 'the fastest one with a known figure, is over budget' in answer_of(400, faster, rival)
    assert 'is on the front, but Large has 4.1 points more, at 1.09 of its latency' in answer_of(
        500, faster, at('Large', 44.0, latency(490))
    )
    (first, *_) = answer_lines(Answer(Wish(500), [rival]), ['T0', 'T1'])
    assert first.endswith('No box AP of T0, T1 is known, so none of them can be chosen.')


def test_ties_and_close_calls_are_said():
    choice, near = at('Choice', 40.0, latency(300)), at('Near', 39.7, latency(290))
    said = answer_of(500, choice, near, at('Low', 36.0, latency(298)))
    assert 'A tie in box AP (within 0.5): Near, 39.7, and a tie in latency.' in said
    assert 'One step down: Near, -0.3 points of box AP and -10.0 ms (0.97 ×, a tie in latency).' in said
    assert 'Low' not in said and 'One step up: none' in said
    close = answer_of(500, at('Close', 40.0, latency(495, 480, 510)), at('Over', 41.0, latency(505, 490, 520)))
    assert 'The interval of its latency reaches beyond 500 ms: a close call.' in close
    assert 'Over (box AP 41.0) is about at the budget too: 505 ms.' in close
    assert 'One step up: Over, +1.0 points of box AP and +10.0 ms (1.02 ×, a tie in latency).' in close


def test_a_flag_is_said():
    said = answer_of(500, at('Busy', 40.0, dict(latency(300), flags=['something ran'])))
    assert '* Disturbed, so take it again on a quiet machine (Busy: something ran).' in said


def test_filters():
    rows = [row('big', 44.0), row('small', 40.0, mask=38.0), row('unknown', None)]
    counts = dict(big=90_000_000, small=9_000_000)

    def count(one):
        return dict(params=counts[one.name], flops_full=10 * counts[one.name])

    found, left_out = find_candidates(rows, Wish(500, task='masks', max_params=30), count)
    assert [(one.label, one.ap, one.params_m, one.flops_g) for one in found] == [('small', 38.0, 9.0, 0.09)]
    assert left_out == {'their backbones have more than 30 M parameters': ['big'], 'no mask AP is known': ['unknown']}
    found, _ = find_candidates(rows, Wish(500), count)
    assert [one.label for one in found] == ['small', 'big']
    with pytest.raises(UserError, match='no backbone is left .*unknown: no box AP is known.*ask for less'):
        find_candidates(rows[2:], Wish(500))


@pytest.mark.parametrize('wrong', [dict(budget_ms=0), dict(budget_ms=float('nan')), dict(budget_ms=1, max_params=-1)])
def test_a_wish_out_of_range(wrong):
    with pytest.raises(UserError, match='must be above 0'):
        Wish(**wrong)


def test_published_figures_alone():
    choice = choose_published(Wish(budget_ms=75))
    assert choice.setting.endswith('RTX 2080 Ti')
    published = {one.label: one for one in collect([]).rows if one.published and one.published.latency_ms}
    within = [one for one in published.values() if one.published.latency_ms <= 75]
    best = max(within, key=lambda one: one.published.box_ap)
    assert choice.answer.choice.label == best.label and choice.answer.choice.ms == best.published.latency_ms
    (reason,) = [reason for reason, labels in choice.left_out.items() if 'RepViT-M1.1' in labels]
    assert reason == 'no latency on RTX 2080 Ti is published'
    with pytest.raises(UserError, match='no backbone meets 20 ms.*FasterNet-S with 54.3 ms'):
        choose_published(Wish(budget_ms=20))


def test_config_to_train():
    assert config_to_train(find_row('resnet50'), 'masks') == 'configs/baselines/mask_rcnn_resnet50.py'
    segmentor = config_to_train(find_row('fasternet_t0'), 'segmentation')
    assert segmentor == 'configs/segmentation/semantic_fpn_fasternet_t0.py' and (ROOT / segmentor).is_file()
    assert 'in_channels of configs/baselines/mask_rcnn_resnet50.py' in config_to_train(
        find_row('resnet50'), 'segmentation'
    )


@pytest.fixture
def two_rows(slim, monkeypatch) -> list[Row]:
    rows = [
        Row('slim', 'Slim', 'FasterNet', str(slim), '1x', find_row('fasternet_s').published),
        Row('t0', 'T0', 'FasterNet', 'configs/mask_rcnn_fasternet_t0.py', '1x', find_row('fasternet_m').published),
    ]
    monkeypatch.setattr(module, 'collect', partial(collect, known=rows))
    quick = partial(Enough, runs=2, seconds=0.1)
    monkeypatch.setattr('mmfasternet.benchmark.measure.enough.Enough', lambda budget_s: quick(budget_s=0))
    return rows


def test_tool_measures_and_resumes(two_rows, tmp_path, capsys):
    words = [TOOL, '--budget-ms', 1e6, '--shape', 64, 64, '--threads', 1, '--out-dir', tmp_path]
    run_in_process(*words)
    printed = capsys.readouterr().out
    assert 'FasterNet is the choice: T0 (box AP 43.0' in printed and 'so far: Slim, box AP 39.9' in printed
    assert printed.splitlines()[-1] == 'Train: configs/mask_rcnn_fasternet_t0.py'
    before = Records.read(tmp_path / 'records.json')
    assert {record['row']: len(record['rounds']) >= 3 for record in before.records} == dict(slim=True, t0=True)
    run_in_process(*words)
    assert Records.read(tmp_path / 'records.json').records == before.records


def test_tool_says_what_is_wrong(two_rows, mistake_of, tmp_path, monkeypatch):
    words = [TOOL, '--budget-ms', 500, '--out-dir', tmp_path, '--shape', 64, 64]
    assert "device 'cuda:9' cannot be used here" in mistake_of(*words, '--device', 'cuda:9')
    with_engine = mistake_of(*words, '--engine', 'openvino', '--scope', 'detector')
    assert 'backend openvino is measured in scope backbone' in with_engine
    monkeypatch.setitem(sys.modules, 'openvino', None)
    module.openvino_core.cache_clear()
    assert 'OpenVINO is not installed: pip install openvino' in mistake_of(*words, '--engine', 'openvino')
    assert not (tmp_path / 'records.json').exists()
    Records(dict(id='ffffffff', label='another machine'), tmp_path / 'records.json').save()
    message = mistake_of(*words)
    assert message.startswith('error: ') and 'another machine' in message


def test_what_others_published_of_the_choice_stands_beside_it():
    """A table in which FasterNet's rivals are missing does not make it the choice without a word."""
    choice = choose_published(Wish(budget_ms=60))
    assert choice.answer.choice.label == 'FasterNet-S'
    (said,) = [line for line in choice.elsewhere if line.startswith('classifier, RTX 4090, PyTorch eager')]
    ours, rival = (
        next(speed.value for speed in find_row(name).speeds if speed.setting in said)
        for name in ('fasternet_s', 'repvit_m1_1')
    )
    assert f'RepViT-M1.1 (39.8) takes {ours / rival:.2f} of its time' in said
    # Slower, or with less AP.
    assert 'PVTv2-B2' not in said and 'ResNet50' not in said
