"""Engines: same weights, every engine in turn, what the tables make of it, and training."""

import os
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from helpers.markdown import tables
from helpers.project import ROOT, run_in_process, run_tool
from torch import nn

if torch.__version__ < (2, 6):
    pytest.skip('the export is promised on the default package set alone', allow_module_level=True)

from mmfasternet.benchmark.engines import measure as engines
from mmfasternet.benchmark.engines import report
from mmfasternet.benchmark.engines.measure import ENGINES, Plan, build_models, measure_all
from mmfasternet.benchmark.engines.profile import profile_parts
from mmfasternet.benchmark.engines.report import engines_page, speedups, write_engines
from mmfasternet.benchmark.measure import backends, memory
from mmfasternet.benchmark.measure.memory import live_bytes
from mmfasternet.benchmark.measure.openvino_core import openvino_core
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError

TINY = ('t0', (64, 64))
PLAN = Plan(TINY[:1], TINY[1:], threads=(1,), rounds=1, profiles=(TINY,), training=(*TINY, 2))
# The compiler takes half a minute.
WITHOUT_COMPILER = tuple(engine for engine in ENGINES if engine.backend != 'compile')


@pytest.fixture(scope='module')
def measured(tmp_path_factory) -> Records:
    records = Records.open(tmp_path_factory.mktemp('engines') / 'records.json')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, 'ENGINES', WITHOUT_COMPILER)
        measure_all(PLAN, records)
    return records


@torch.no_grad()
def test_all_have_the_same_weights():
    models = build_models('t0')
    image = torch.rand(1, 3, 64, 96)
    for a, b in zip(models['reference'](image), models['optimized'](image), strict=True):
        torch.testing.assert_close(b, a, atol=1e-4, rtol=1e-4)
    # timm has no norms on its outputs.
    for norm, name in zip(models['reference'].output_norms, ('norm0', 'norm2', 'norm4', 'norm6'), strict=True):
        assert getattr(models['reference'], name) is norm
        setattr(models['reference'], name, nn.Identity())
    for a, b in zip(models['reference'](image), models['timm'](image), strict=True):
        torch.testing.assert_close(b, a, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_records(measured):
    """A CPU without bf16 has no latency of it, and says so; all others have theirs, on any CPU."""
    latencies = {record['contender']: record for record in measured.of_kind('latency')}
    lacking = [record['contender'] for record in measured.of_kind('lacking')]
    # oneDNN can be told to leave instructions out, which OpenVINO's list does not know.
    is_capped = 'ONEDNN_MAX_CPU_ISA' in os.environ
    has_bf16 = 'BF16' in openvino_core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    assert lacking == ([] if has_bf16 else ['OpenVINO bf16']) or is_capped
    present = [engine for engine in WITHOUT_COMPILER if engine.label not in lacking]
    assert list(latencies) == [engine.label for engine in present]
    for engine in present:
        record = latencies[engine.label]
        assert (record['backend'], record['precision'], record['path']) == (
            engine.backend,
            engine.precision,
            engine.path,
        )
        assert record['computed_in'] == engine.precision
        if engine.precision == 'fp32':
            assert record['max_difference'] < 1e-4
        else:
            assert 1e-4 < record['max_difference'] < 0.2
        assert record.get('weight_bits') == (7 if engine.precision == 'int8' else None)
    (profile,), training = measured.of_kind('profile'), measured.of_kind('training')
    assert sum(profile['parts'].values()) == pytest.approx(1, abs=1e-3) and 'GELU' in profile['parts']
    held = {record['contender']: record['held_mib'] for record in training}
    assert held['with_cp=True'] < held["with_cp='elementwise'"] < held['as it is']
    page = (ROOT / 'docs/records.md').read_text()
    assert all(f'`{key}`' in page for record in measured.records for key in record)


@pytest.mark.slow
def test_signals_are_handled_after_openvino():
    """Its CPU plugin leaves the process a broken stack for them, where several cores end."""
    code = (
        'import signal, torch\n'
        'from mmfasternet import FasterNet\n'
        'from mmfasternet.benchmark.measure.backends import backend_forward\n'
        'model = FasterNet(dict(embed_dims=8, depths=(1, 1, 1, 1))).eval().requires_grad_(False)\n'
        'prepared = [backend_forward(model, torch.rand(1, 3, 32, 32), "openvino", threads=1) for _ in range(2)]\n'
        'del prepared[0], prepared[0], model\n'
        'signal.signal(signal.SIGUSR1, lambda *arguments: print("handled"))\n'
        'signal.raise_signal(signal.SIGUSR1)\n'
    )
    done = run_tool(sys.executable, '-c', code)
    assert (done.returncode, done.stdout) == (0, 'handled\n'), done.stderr


@pytest.mark.slow
def test_what_is_recorded_is_not_measured_again(measured, monkeypatch):
    before = measured.path.read_bytes()
    monkeypatch.setattr(engines, 'ENGINES', WITHOUT_COMPILER)
    for name in ('_measure_cell', 'profile_parts', 'measure_training'):
        monkeypatch.setattr(engines, name, None)
    measure_all(PLAN, Records.read(measured.path))
    assert measured.path.read_bytes() == before


@pytest.mark.slow
def test_a_training_that_was_saved_in_part_is_measured_again(measured, monkeypatch):
    whole = [record for record in measured.records if record['kind'] != 'training']
    training = measured.of_kind('training')
    again = []

    def measure(arch, **setting):
        again.append((arch, setting['batch']))
        return training

    monkeypatch.setattr(engines, 'ENGINES', WITHOUT_COMPILER)
    monkeypatch.setattr(engines, 'measure_training', measure)
    for count in range(len(training) + 1):
        measure_all(PLAN, Records(measured.machine, records=[*whole, *training[:count]]))
    assert again == [('t0', 2)] * len(training)


def test_the_peak_counts_each_multiply_add_of_the_product(monkeypatch):
    monkeypatch.setattr(memory, '_PEAK_SIZE', 64)
    monkeypatch.setattr(memory, '_shortest', lambda function, device: function().numel() / 1e9)
    # 64 multiply-adds for each of 64 × 64 elements, of which there are as many as nanoseconds.
    assert memory.peak_gmacs() == pytest.approx(64)


def made_up(measured: Records) -> Records:
    """Times of 100, 80, then 40 ms for the rest, in two cells; in the second, 10 ms for the rest."""
    # All engines, whatever this machine lacks.
    found = {record['contender']: record for record in measured.of_kind('latency')}
    latencies = [
        dict(found.get(engine.label, found['optimized']), contender=engine.label, max_difference=0.02)
        for engine in ENGINES
    ]
    for record in latencies:
        median = dict(timm=100.0, reference=80.0).get(record['contender'], 40.0)
        same = [median, median]
        record.update(
            median_ms=median, quartiles_ms=same, interval_ms=same, flags=[], flops=2 * 10**9, peak_gmacs=100.0
        )
    slower = [dict(record, threads=2, shape=[800, 1280]) for record in latencies]
    for record in slower[2:]:
        record.update(median_ms=10.0, quartiles_ms=[9.0, 11.0], interval_ms=[9.0, 11.0])
    slower[2]['flags'] = ['it was busy']
    others = [record for record in measured.records if record['kind'] not in ('latency', 'lacking')]
    return Records(measured.machine, records=[*latencies, *slower, *others])


@pytest.mark.slow
def test_tables_and_plot(measured, tmp_path):
    records = made_up(measured)
    first, second = speedups(records).values()
    assert first['timm'] == 0.8 and first['reference'] == 1 and first['optimized'] == 2 and second['OpenVINO'] == 8
    text = engines_page(records)
    ratios, latencies, shares, *_ = tables(text)
    assert ratios[1] == ['T0, 64 × 64, 1 thread', '0.80', '1.00', *['2.00'] * 7]
    # The geometric mean of 2 and 8, and not their mean; without the flagged 8, that of 2.
    assert ratios[2][3:5] == ['8.00 \\*', '8.00']
    assert ratios[-1][:5] == ['geometric mean', '**0.80**', '**1.00**', '**2.00**', '**4.00**']
    assert latencies[2][3:5] == ['10.0 \\*', '10.0']
    # 2 G multiply-adds in 40 ms are 50 GMAC/s.
    assert shares[1] == ['T0, 64 × 64, 1 thread', '100', '20%', '25%', *['50%'] * 4]
    assert 'T0, 800 × 1280, 2 threads: optimized (it was busy)' in text
    # The flagged cell is left out; in the other one OpenVINO is as fast, and timm takes 100 ms.
    assert 'takes 1.00 times as long as OpenVINO (geometric mean): it is slower in 0, tied in 1 and faster in 0' in text
    assert 'takes 0.40 times as long as timm (geometric mean): it is slower in 0, tied in 0 and faster in 1' in text
    written = write_engines(records, tmp_path)
    assert tables(written['engines.md'].read_text()) == tables(text)
    assert written['engines.png'].read_bytes().startswith(b'\x89PNG')


def test_another_machine_beside_the_first(tmp_path):
    first = Records.read(ROOT / 'docs/results/engines/records.json')
    one_cell = [
        dict(record, median_ms=dict(timm=90.0, reference=60.0).get(record['contender'], 40.0), flags=[])
        for record in first.records[: len(ENGINES)]
    ]
    machine = dict(first.machine, cpu='A <b>slower</b> CPU', instructions=['avx2'])
    second = Records(machine, tmp_path / 'another/records.json', one_cell)
    second.save()
    text = write_engines(first, tmp_path)['engines.md'].read_text()
    (machines,) = [rows for rows in tables(text) if len(rows[0]) == 3 and 'avx2' in rows[0][2]]
    assert '<b>' not in machines[0][2] and len(machines) == 2 + 12
    (cell,) = speedups(second)
    assert [row for row in machines if row[2]][1:] == [
        [cell.title, machines[1][1], '1.50'],
        ['geometric mean', '**1.25**', '**1.50**'],
    ]
    # The first cell's two bases are flagged on the first machine.
    assert machines[1][1] == '1.18 \\*'


@pytest.mark.slow
def test_a_machine_without_an_engine_is_measured_and_drawn_without_it(monkeypatch, tmp_path, capfd):
    """OpenVINO computes in fp32 when a CPU lacks bf16: no latency says that it was bf16, also in the next cell."""
    engines_of_test = [
        engine for engine in ENGINES if engine.label in ('timm', 'reference', 'optimized', 'OpenVINO bf16')
    ]
    monkeypatch.setattr(engines, 'ENGINES', engines_of_test)
    monkeypatch.setattr(report, 'ENGINES', engines_of_test)
    monkeypatch.setitem(backends._HINTS, 'bf16', 'f32')
    records = Records.open(tmp_path / 'records.json')
    engines.measure_engines(replace(PLAN, shapes=((64, 64), (96, 96))), records)
    (lacking,) = Records.read(tmp_path / 'records.json').of_kind('lacking')
    assert (lacking['contender'], lacking['precision']) == ('OpenVINO bf16', 'bf16')
    assert len(records.of_kind('latency')) == 6 and not records.of_kind('latency', contender='OpenVINO bf16')
    line = 'OpenVINO bf16 is left out'
    assert capfd.readouterr().err.count(line) == 1
    written = write_engines(records, tmp_path)
    page = written['engines.md'].read_text()
    assert tables(page)[0][0] == ['', 'timm', 'reference', 'optimized'] and len(tables(page)[0]) == 4
    assert f'{line} on this machine: openvino computes in fp32 here when bf16 is asked for.' in page
    assert page.count('OpenVINO bf16') == 1 and 'differ from those in fp32' not in page
    # Nothing is left to measure.
    monkeypatch.setattr(engines, '_measure_cell', None)
    engines.measure_engines(replace(PLAN, shapes=((64, 64), (96, 96))), records)


def test_relu_has_no_gelu():
    assert 'GELU' not in profile_parts('t2', (64, 64), threads=1, runs=1)['parts']


def test_live_bytes_counts_what_backward_needs():
    image = torch.rand(2, 3, 8, 8)
    of_a_map = 4 * image.numel()
    # A convolution keeps its input, which was there before; the output is alive as well.
    assert live_bytes(nn.Conv2d(3, 3, 1), image) == of_a_map
    # Both activations keep their outputs, and neither needs what the convolution put out.
    assert live_bytes(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Sigmoid()), image) == 2 * of_a_map
    # SiLU keeps its input.
    assert live_bytes(nn.Sequential(nn.Conv2d(3, 3, 1), nn.SiLU(), nn.Sigmoid()), image) == 2 * of_a_map


def test_the_tool_measures_its_plan_and_draws(monkeypatch, tmp_path):
    committed, plans = Records.read(ROOT / 'docs/results/engines/records.json'), []

    def measure(plan: Plan, records: Records) -> None:
        plans.append(plan)
        records.records.extend(committed.records)

    monkeypatch.setattr(engines, 'measure_all', measure)
    run_in_process(ROOT / 'tools/benchmark/engines.py', '--quick', '--out-dir', tmp_path)
    assert [(plan.archs, plan.shapes, plan.rounds) for plan in plans] == [(('t0',), ((96, 128),), 1)]
    assert tables((tmp_path / 'engines.md').read_text()) == tables(engines_page(committed))
    assert (tmp_path / 'engines.png').is_file()


def test_committed_figures_are_those_of_the_records(tmp_path):
    folder = ROOT / 'docs/results/engines'
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    page = write_engines(Records.read(tmp_path / 'records.json'), tmp_path)['engines.md']
    assert tables((folder / 'engines.md').read_text()) == tables(page.read_text())


def test_an_interrupted_run_is_drawn_as_far_as_it_is_complete(tmp_path):
    records = Records.read(ROOT / 'docs/results/engines/records.json')
    complete = Records(records.machine, records=records.records[: len(ENGINES)])
    begun = Records(records.machine, records=records.records[: len(ENGINES) + 2])
    assert len(speedups(begun)) == 1 and tables(engines_page(begun)) == tables(engines_page(complete))
    for count in (0, len(ENGINES) - 1):
        with pytest.raises(UserError, match=f'{tmp_path} yet: no cell is complete'):
            write_engines(Records(records.machine, records=records.records[:count]), tmp_path)
