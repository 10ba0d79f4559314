"""A run on a GPU by stages: each is saved at once, what fails costs no other, and none begins that has no time."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from helpers.made_up import GPU
from helpers.project import ROOT, run_tool, succeed

from mmfasternet.benchmark.gpu import stages
from mmfasternet.benchmark.gpu.measured import Cell, cells_of
from mmfasternet.benchmark.gpu.stages import QUICK, STAGES, Plan, run_stages
from mmfasternet.benchmark.gpu.ways import EAGER, GRAPHS, Way, build_networks, image_of, measure_cell, prepare
from mmfasternet.benchmark.measure.precision import LackingError
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError

CELL = Cell('t0', (33, 47), 1, 'fp32', 'fp32')


@pytest.fixture
def made_up_stages(monkeypatch) -> list[str]:
    """Stages that take 100 s each, of which the second fails; gives the names of those that ran."""
    ran = []

    def stage(name: str):
        def run(run) -> None:
            ran.append(name)
            if name == 'b':
                raise ZeroDivisionError('made up')
            if name == 'c':
                raise UserError('wrong')

        return run

    monkeypatch.setattr(stages, 'STAGES', {name: (stage(name), 100) for name in 'abcd'})
    return ran


def test_a_stage_that_fails_costs_no_other(made_up_stages, tmp_path, capsys):
    assert run_stages(QUICK, 'abcd', 'cpu', tmp_path, budget=60) == ['stage b', 'stage c']
    assert made_up_stages == [*'abcd']
    said = capsys.readouterr().out
    assert 'ZeroDivisionError: made up' in said and 'stage c failed: wrong' in said


def test_no_stage_begins_without_its_time(made_up_stages, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(stages, 'is_gpu', lambda device: True)
    monkeypatch.setattr(torch.cuda, 'empty_cache', lambda: None)
    assert run_stages(QUICK, 'ad', 'cpu', tmp_path, budget=59) == [] and made_up_stages == []
    assert 'no time for stage a: 59 s are left, and it takes about 60 s' in capsys.readouterr().out
    run_stages(QUICK, 'ad', 'cpu', tmp_path, budget=70)
    assert made_up_stages == ['a', 'd']


def test_a_stage_that_does_not_exist_is_refused_before_anything_runs(made_up_stages, tmp_path):
    with pytest.raises(UserError, match='no such stage: x; there are a, b, c, d'):
        run_stages(QUICK, 'ax', 'cpu', tmp_path, budget=60)
    for budget in (0, float('nan')):
        with pytest.raises(UserError, match=f'the budget must be more than 0 seconds, but got {budget}'):
            run_stages(QUICK, 'a', 'cpu', tmp_path, budget=budget)
    assert made_up_stages == [] and not (tmp_path / 'records.json').exists()


def test_a_cell_has_the_latency_of_each_way_and_leaves_out_what_fails(tmp_path):
    records, failed = Records.open(tmp_path / 'records.json'), []
    broken, networks = Way('fused', 'optimized'), build_networks('t0', 'cpu', Records({}))
    networks['optimized'] = networks['timm']

    class Attempt:
        def __init__(self, what: str) -> None:
            self.what = what

        def __enter__(self) -> None: ...

        def __exit__(self, kind: type, error: Exception, trace: object) -> bool:
            failed.extend([self.what, str(error)] if error else [])
            return isinstance(error, UserError)

    measure_cell(CELL, [*EAGER[:4], broken], networks, 1, 'cpu', records, Attempt)
    # Feature maps that are another network's have no latency.
    assert failed[0] == f'{CELL.title}, fused' and 'differ from PyTorch in fp32' in failed[1] and len(failed) == 2
    (row,) = cells_of(Records.read(records.path)).values()
    assert list(row) == ['timm', 'reference, NCHW', 'reference', 'folded']
    assert [record['path'] for record in row.values()] == ['reference', 'reference', 'reference', 'folded']
    assert row['timm']['row'] == 'timm_fasternet_t0' and row['folded']['max_difference'] < 1e-4
    assert all(record['shape'] == [33, 47] and len(record['rounds']) == 1 for record in row.values())


def test_the_fused_kernel_is_tried_where_it_exists():
    for precision, weights, left_out in (
        ('fp16', 'autocast', {'fused'}),
        ('fp32', 'fp32', {'fused'}),
        ('tf32', 'fp32', set()),
        ('bf16', 'cast', set()),
    ):
        cell = replace(CELL, precision=precision, weights=weights)
        assert {way.network for way in (*EAGER, *GRAPHS) if not way.is_for(cell)} == left_out


def test_the_networks_of_a_variant_are_built_once_for_all_its_cells(tmp_path, monkeypatch):
    built, cells = [], (CELL, replace(CELL, batch=2), replace(CELL, arch='t1'), replace(CELL, batch=3))
    monkeypatch.setattr(stages, 'build_networks', lambda arch, **_: built.append(arch) or arch)
    monkeypatch.setattr(stages, 'measure_cell', lambda cell, ways, networks, *_: measured.append((cell.arch, networks)))
    measured: list[tuple] = []
    assert run_stages(replace(QUICK, cells=cells), ['latency'], 'cpu', tmp_path, budget=60) == []
    assert built == ['t0', 't1'] and measured == [('t0', 't0'), ('t0', 't0'), ('t1', 't1'), ('t0', 't0')]


def test_every_network_has_the_same_weights():
    networks, image = build_networks('t0', 'cpu', Records({})), image_of(CELL, 'cpu')
    assert torch.equal(image, image_of(CELL, 'cpu')) and image.min() < -0.9
    with torch.no_grad():
        expected = networks['reference'](image)
        for name in ('folded', 'optimized'):
            for out, right in zip(networks[name](image), expected, strict=True):
                assert (out - right).abs().max() < 1e-4 * right.abs().max()


def test_half_precision_by_weights_that_are_cast():
    networks, image = build_networks('t0', 'cpu', Records({})), image_of(CELL, 'cpu')
    cell = replace(CELL, precision='bf16', weights='cast')
    try:
        prepared, given = prepare(EAGER[2], networks, image, cell)
    except LackingError as error:
        assert 'bf16' in str(error)
        return
    assert given.dtype == torch.bfloat16 and given.is_contiguous(memory_format=torch.channels_last)
    assert {out.dtype for out in prepared.forward(given)} == {torch.bfloat16}
    assert 1e-4 < prepared.max_difference < 8e-2


def test_the_plan_answers_what_it_should():
    plan = Plan()
    half = [cell for cell in (*plan.cells, *plan.others) if (cell.precision, cell.weights) == ('fp16', 'cast')]
    sizes = [((224, 224), 1), ((224, 224), 32), ((224, 224), 256), ((800, 1280), 1)]
    assert {(cell.arch, cell.shape, cell.batch) for cell in half} == {
        (arch, *size) for arch in ('t0', 's', 'l') for size in sizes
    }
    assert {(cell.precision, cell.weights) for cell in {*plan.others} - {*half}} == {
        ('fp16', 'autocast'),
        ('bf16', 'cast'),
        ('tf32', 'fp32'),
    }
    # What is beside torch.compile was measured before without it.
    assert set(plan.compiled) <= set(plan.cells)
    assert {way.network for way in GRAPHS} == {'reference', 'folded', 'optimized', 'fused'}
    # In order of worth, so that the time ends with what is worth least.
    order = list(STAGES)
    assert order.index('smoke') < order.index('latency') < order.index('comparison') < order.index('demo')


@pytest.mark.slow
def test_the_tool_rehearses_a_stage_on_the_cpu(mistake_of, tmp_path):
    tool = ROOT / 'tools/benchmark/gpu.py'
    done = succeed(tool, '--device', 'cpu', '--quick', '--stages', 'env', 'smoke', '--out-dir', tmp_path)
    assert 'stage smoke' in done.stdout and 'records:' in done.stdout
    records = Records.read(tmp_path / 'records.json')
    assert {record['contender'] for record in records.of_kind('latency')} >= {'timm', 'reference', 'optimized'}
    # What is recorded is not measured again.
    run_stages(QUICK, ['smoke'], 'cpu', tmp_path, budget=600)
    assert Records.read(tmp_path / 'records.json').records == records.records
    succeed(tool, '--report-only', '--out-dir', tmp_path)
    assert (tmp_path / 'gpu.md').read_text().startswith('# Rehearsal on a CPU')
    assert "device 'cuda:77' cannot be used" in mistake_of(tool, '--device', 'cuda:77')
    # Before anything was measured, the page is that of the predictions.
    succeed(tool, '--report-only', '--out-dir', tmp_path / 'none')
    assert '**Nothing on this page was measured' in (tmp_path / 'none/gpu.md').read_text()


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < (2, 6), reason='the fused block needs torch 2.6 or newer, as its message says')
def test_what_only_a_gpu_runs_is_rehearsed_as_far_as_a_cpu_can(tmp_path):
    pytest.importorskip('triton', reason='this build of torch has no Triton, in whose interpreter the fused block runs')
    succeed(ROOT / 'tests/helpers/pretend_gpu.py', tmp_path, TRITON_INTERPRET='1')
    records = Records.read(tmp_path / 'records.json')
    row, by_autocast = cells_of(records).values()
    assert list(row)[-4:] == ['reference, graph', 'folded, graph', 'optimized, graph', 'fused, graph']
    assert list(by_autocast)[-1] == 'optimized, graph' and 'fused' not in by_autocast
    for way, record in row.items():
        assert record['computed_in'] == 'fp16' and record['max_difference'] < 2e-2 and record['stream_ms'] > 0
        assert record['cudnn_benchmark'] and record.get('peak_mib') == (None if 'graph' in way else 1.0)
    tiles = {
        record['settings']['channels']: record['figures']['config'] for record in records.of_kind('gpu', part='kernel')
    }
    assert tiles.keys() == {40, 80, 160} and set(map(tuple, tiles.values())) <= {(16, 32, 4, 1), (32, 32, 4, 1)}
    differences = records.of_kind('gpu', part='differences')
    assert {record['settings']['precision'] for record in differences} == {'fp32', 'fp16'}
    for record in differences:
        is_half = record['settings']['precision'] == 'fp16'
        assert ({'fused', 'fused, graph'} <= record['figures'].keys()) == is_half
        assert {'optimized', 'optimized, graph'} <= record['figures'].keys()
    compared = Records.read(tmp_path / 'comparison/records.json').of_kind('latency', weights='autocast')
    assert [(record['scope'], record['batch']) for record in compared] == [
        ('backbone', 8),
        ('backbone', 1),
        ('detector', 1),
    ]
    page = (tmp_path / 'gpu.md').read_text()
    assert '| optimized, graph | fused, graph |' in page and '| 160 channels, GELU, fp16 |' in page


def test_packing_refuses_what_records_could_not_name(tmp_path):
    """A copy of the checkout that differs from its commit."""
    subprocess.run(['git', 'clone', '-q', ROOT, tmp_path / 'clone'], check=True)
    (tmp_path / 'clone/new.txt').write_text('')
    script = tmp_path / 'clone/tools/benchmark/gpu_pack.sh'
    (tmp_path / 'env/bin').mkdir(parents=True)
    (tmp_path / 'env/bin/python').symlink_to(sys.executable)
    done = run_tool('bash', script, VENV=str(tmp_path / 'env'))
    assert done.returncode == 1 and 'commit or remove what git status shows' in done.stderr
    done = run_tool('bash', script, VENV=str(tmp_path / 'nothing'))
    assert done.returncode == 1 and "run 'make env'" in done.stderr and not (tmp_path / 'clone/.gpu').exists()


def test_records_of_a_gpu_are_read_back(tmp_path):
    records = Records(GPU, tmp_path / 'records.json')
    for part in ('peaks', 'differences', 'kernel', 'demo'):
        records.add(dict(kind='gpu', row='a', label='A', part=part, settings={}, figures=dict(seconds=1)))
    assert len(json.loads(records.path.read_text())['records']) == 4 == len(Records.read(records.path).records)
