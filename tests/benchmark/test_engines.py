"""The benchmark of engines: same weights, every contender in turn, what the tables make of it, and training."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers.project import ROOT
from torch import nn

if torch.__version__ < (2, 6):
    pytest.skip('the export is promised on the default package set alone', allow_module_level=True)

from mmfasternet.benchmark.engines import measure as engines
from mmfasternet.benchmark.engines.measure import CONTENDERS, Plan, build_models, measure_all, peak_gflops
from mmfasternet.benchmark.engines.profiling import profile_parts
from mmfasternet.benchmark.engines.report import markdown_tables, speedups, write_engines_report
from mmfasternet.benchmark.engines.training import live_bytes
from mmfasternet.benchmark.records.records import read_records

TINY = ('t0', (64, 64))
PLAN = Plan(TINY[:1], TINY[1:], threads=(1,), rounds=1, profiles=(TINY,), training=(*TINY, 2))
# The compiler takes half a minute.
WITHOUT_COMPILER = tuple(contender for contender in CONTENDERS if contender.backend != 'compile')


@pytest.fixture(scope='module')
def records(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('engines') / 'records.json'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, 'CONTENDERS', WITHOUT_COMPILER)
        measure_all(PLAN, path)
    return path


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
def test_records(records):
    document = read_records(records)
    latencies = {record['contender']: record for record in document['records'] if record['kind'] == 'latency'}
    assert list(latencies) == [contender.label for contender in WITHOUT_COMPILER]
    for contender in WITHOUT_COMPILER:
        record = latencies[contender.label]
        assert (record['backend'], record['precision']) == (contender.backend, contender.precision)
        if contender.precision == 'fp32':
            assert record['max_difference'] < 1e-4
        else:
            assert 1e-4 < record['max_difference'] < 0.2
    profile, *training = [record for record in document['records'] if record['kind'] != 'latency']
    assert sum(profile['parts'].values()) == pytest.approx(1, abs=1e-3) and 'GELU' in profile['parts']
    held = {record['contender']: record['held_mib'] for record in training}
    assert held['with_cp=True'] < held["with_cp='elementwise'"] < held['as it is']
    guide = (ROOT / 'docs/records.md').read_text()
    assert all(f'`{key}`' in guide for record in document['records'] for key in record)


@pytest.mark.slow
def test_what_is_there_is_not_measured_again(records, monkeypatch):
    before = records.read_bytes()
    for name in ('measure_cell', 'profile_parts', 'measure_training'):
        monkeypatch.setattr(engines, name, None)
    measure_all(PLAN, records)
    assert records.read_bytes() == before


def test_flops_of_the_peak_are_possible():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # From a slow core to a very fast one.
        assert 1 < peak_gflops() < 2000
    finally:
        torch.set_num_threads(threads)


def made_up(records: Path) -> dict:
    """Times as 100, 80, then 40 ms for the rest, in two cells."""
    document = read_records(records)
    latencies = [record for record in document['records'] if record['kind'] == 'latency']
    compiled = dict(latencies[2], contender='torch.compile', label='compiled')
    latencies.insert(3, compiled)
    for record in latencies:
        record.update(median_ms=dict(timm=100, reference=80).get(record['contender'], 40.0), flags=[])
        record.update(flops=2 * 10**9, peak_gflops=200.0)
    slower = [dict(record, threads=2, shape=[800, 1280]) for record in latencies]
    for record in slower[2:]:
        record['median_ms'] = 10.0
    slower[2]['flags'] = ['it was busy']
    others = [record for record in document['records'] if record['kind'] != 'latency']
    return dict(document, records=[*latencies, *slower, *others])


@pytest.mark.slow
def test_tables_and_picture(records, tmp_path):
    document = made_up(records)
    (first, second) = speedups(document).values()
    assert first['timm'] == 0.8 and first['reference'] == 1 and first['deployed'] == 2 and second['OpenVINO'] == 8
    text = markdown_tables(document)
    lines = text.splitlines()
    assert '| T0, 64 × 64, 1 thread | 0.80 | 1.00 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 |' in lines
    # The geometric mean of 2 and 8, and not their mean.
    assert any(line.startswith('| geometric mean | **0.80** | **1.00** | **4.00** |') for line in lines)
    # 4 GFLOP in 40 ms are 100 GFLOP/s.
    assert '| T0, 64 × 64, 1 thread | 200 | 20% | 25% | 50% | 50% | 50% | 50% |' in lines
    assert '- \\* T0, 800 × 1280, 2 threads: deployed (it was busy)' in lines and '| 10.0 \\* |' in text
    written = write_engines_report(document, tmp_path)
    assert written['engines.md'].read_text() == text
    assert written['engines.png'].read_bytes().startswith(b'\x89PNG')


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


def test_committed_figures_are_those_of_the_records(tmp_path):
    folder = ROOT / 'docs/results/engines'
    shutil.copy(folder / 'records.json', tmp_path)
    written = write_engines_report(read_records(tmp_path / 'records.json'), tmp_path)
    assert written['engines.md'].read_text() == (folder / 'engines.md').read_text()
    commits = {record['commit'] for record in json.loads((folder / 'records.json').read_text())['records']}
    assert not any(commit.endswith('+') for commit in commits)
