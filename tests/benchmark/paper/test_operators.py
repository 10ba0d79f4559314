"""Operators: costs against the paper's Table 1 and torch's counter, records, and the page."""

from functools import partial

import pytest
import torch
from helpers.made_up import GPU
from helpers.markdown import tables
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmfasternet.benchmark.measure.turns import Clock
from mmfasternet.benchmark.paper.operators import measure as operators
from mmfasternet.benchmark.paper.operators.costs import conv_cost, dwconv_cost, pconv_cost, pwconv_cost, tconv_cost
from mmfasternet.benchmark.paper.operators.layers import (
    LAYERS,
    OPERATORS,
    SIZES,
    Size,
    TConv,
    build_layers,
    operators_at,
)
from mmfasternet.benchmark.paper.operators.measure import Plan, measure_operators
from mmfasternet.benchmark.paper.operators.networks import NETWORKS, build_network
from mmfasternet.benchmark.paper.operators.report import REPORT, truncated
from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError

BY_NAME = {operator.name: operator for operator in OPERATORS}
TINY = Size(32, 14)


@pytest.mark.parametrize('row', published('table1_operators'), ids=lambda row: f'{row["operator"]}-{row["channels"]}')
def test_flops_are_those_of_table_1(row):
    size = Size(int(row['channels']), int(row['height']))
    flops = int(row['layers']) * BY_NAME[row['operator']].cost(size, size.channels).flops
    assert size in SIZES and int(row['layers']) == LAYERS
    assert truncated(flops, row['flops_m']) == row['flops_m']


def test_printed_figures_are_cut_off_and_not_rounded():
    assert truncated(162_570_240, '162') == '162' and truncated(3_386_880, '3.38') == '3.38'
    assert truncated(50_000, '0.05') == '0.05' and truncated(999_999, '0') == '0'


def test_equations_written_out():
    c, part, h, w, k = 96, 24, 56, 40, 5
    # Eq. 2 to 7, as the paper prints them.
    assert dwconv_cost(6 * c, h, w, k).memory_accesses() == h * w * 2 * 6 * c + k**2 * 6 * c
    assert conv_cost(c, h, w, k).memory_accesses() == h * w * 2 * c + k**2 * c**2
    assert pconv_cost(part, h, w, k).flops == h * w * k**2 * part**2
    assert pconv_cost(part, h, w, k).memory_accesses() == h * w * 2 * part + k**2 * part**2
    assert tconv_cost(c, part, h, w, k).flops == h * w * (k**2 * part * c + c * (c - part))
    assert (pconv_cost(part, h, w, k) + pwconv_cost(c, h, w)).flops == h * w * (k**2 * part**2 + c**2)
    # A batch has its maps many times, and its weights once.
    assert conv_cost(c, h, w, k).memory_accesses(32) == 32 * h * w * 2 * c + k**2 * c**2
    with pytest.raises(ValueError, match='16 groups do not divide 40 channels'):
        conv_cost(40, h, w, groups=16)


@pytest.mark.parametrize('operator', OPERATORS, ids=lambda operator: operator.name)
def test_torch_counts_as_many(operator):
    for size in (TINY, SIZES[0]):
        width = operator.width(size)
        maps = torch.empty(2, width, size.pixels, size.pixels, device='meta')
        with FlopCounterMode(display=False) as counter:
            build_layers(operator, size).to('meta')(maps)
        # It counts a multiplication and an addition as two, in both maps.
        assert counter.get_total_flops() == 2 * 2 * LAYERS * operator.cost(size, width).flops


@pytest.mark.parametrize('size', SIZES, ids=lambda size: str(size.channels))
def test_widened_operators_have_equal_flops(size):
    wanted = BY_NAME['pconv_pwconv'].cost(size, size.channels).flops
    alone, paired = BY_NAME['dwconv_widened'], BY_NAME['dwconv_pwconv_widened']
    assert alone.cost(size, alone.width(size)).flops == wanted
    gaps = [abs(paired.cost(size, paired.width(size) + more).flops - wanted) for more in (-1, 0, 1)]
    assert min(gaps) == gaps[1] < 0.01 * wanted


@torch.no_grad()
def test_t_shaped_convolution_is_a_convolution_with_a_t_of_weights():
    made, x = TConv(8, 2), torch.rand(1, 8, 5, 6)
    whole = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    whole.weight.zero_()
    whole.weight[:, :2] = made.spatial.weight
    whole.weight[:, 2:, 1:2, 1:2] = made.pointwise.weight
    torch.testing.assert_close(made(x), whole(x))


@torch.no_grad()
def test_pconv_in_place_is_the_same_and_leaves_its_input():
    pconv, in_place = (build_layers(BY_NAME[name], TINY) for name in ('pconv3x3_ratio1/4', 'pconv3x3_in_place'))
    x = torch.randn(2, 32, 14, 14)
    before = x.clone()
    torch.testing.assert_close(in_place(x), pconv(x))
    assert torch.equal(x, before)


@torch.no_grad()
@pytest.mark.parametrize('operator', OPERATORS, ids=lambda operator: operator.name)
def test_ten_layers_neither_vanish_nor_explode(operator):
    width = operator.width(TINY)
    out = build_layers(operator, TINY)(torch.randn(1, width, 14, 14, generator=torch.Generator().manual_seed(0)))
    assert 0.05 < float(out.std()) < 50


@pytest.mark.parametrize('network', NETWORKS, ids=lambda network: network.name)
def test_networks_have_the_flops_of_table_3(network):
    printed = {row['network']: float(row['flops_g']) for row in published('table3_imagenet')}
    # Two decimals are printed, and some classifiers are left out.
    assert build_network(network, 224)[1] / 1e9 == pytest.approx(printed[network.label], abs=0.015)


@pytest.fixture
def short(monkeypatch):
    """Turns of two runs, and a machine whose limits are known."""
    monkeypatch.setattr(operators, 'Clock', partial(Clock, warmup_s=0, turn_s=0))
    monkeypatch.setattr(operators, 'peak_gmacs', lambda device, precision: 50.0)
    monkeypatch.setattr(operators, 'bandwidth_gb_s', lambda device: 10.0)


def test_records_and_what_is_recorded_is_not_measured_again(short, tmp_path, monkeypatch):
    plan, path = Plan((TINY,), (2,), networks=('fasternet_t0',), pixels=64, threads=1, rounds=2), tmp_path / 'r.json'
    records = measure_operators(plan, path)
    assert records.records == Records.read(path).records
    rows = [(record['row'], record['settings']['scope']) for record in records.records]
    assert rows == [
        *((operator.name, 'layers') for operator in OPERATORS),
        ('machine', 'layers'),
        ('fasternet_t0', 'network'),
        ('machine', 'network'),
    ]
    first = records.records[0]['figures']
    assert len(first['rounds']) == 2 and first['flops'] == 10 * conv_cost(32, 14, 14).flops
    assert first['memory_accesses'] == 10 * (2 * 14 * 14 * 2 * 32 + 9 * 32**2)
    assert first['throughput'] == pytest.approx(2000 / first['median_ms'], rel=1e-3)

    before = path.read_bytes()
    cells = []
    monkeypatch.setattr(operators, '_measure_cell', lambda cell, *_: cells.append(cell.title))
    measure_operators(plan, path)
    assert path.read_bytes() == before and not cells
    # Without its last record a cell is measured again, and nothing else.
    records.records.pop()
    records.save()
    measure_operators(plan, path)
    assert cells == ['networks, batch 2']
    with pytest.raises(UserError, match='threads 1, but now it is 2'):
        measure_operators(Plan(threads=2), path)


def made_up():
    """PConv takes 1 ms, and the others so many times as long; all feature maps as in the paper."""
    times = dict(conv3x3=8, gconv3x3_16groups=4, dwconv3x3=0.5, pconv3x3_in_place=0.8, pconv_pwconv=2)
    times |= dict(dwconv_pwconv_widened=3, dwconv_widened=5, tconv=2.05)
    found, origin = [], dict(date='2026-01-01T00:00:00', commit='0123456789')

    def add(row, label, settings, **figures):
        found.append(dict(kind='paper', experiment='operators', row=row, label=label, settings=settings, **origin))
        found[-1]['figures'] = figures

    def timed(ms, batch):
        quartiles = [0.99 * ms, 1.01 * ms]
        return dict(median_ms=ms, quartiles_ms=quartiles, throughput=1000 * batch / ms, flags=[], rounds=[])

    for batch in (1, 32):
        for size in SIZES:
            settings = dict(scope='layers', channels=size.channels, height=size.pixels, width=size.pixels)
            settings |= dict(batch=batch, threads=2, precision='fp32')
            for operator in operators_at(size, batch):
                width = operator.width(size)
                cost = operator.cost(size, width)
                figures = dict(layers=10, width_channels=width, flops=10 * cost.flops)
                figures |= dict(memory_accesses=10 * cost.memory_accesses(batch))
                figures |= timed(float(batch * times.get(operator.name, 1)), batch)
                add(operator.name, operator.label, settings, **figures)
            add('machine', 'Peak', settings, peak_gmacs=400.0, bandwidth_gb_s=20.0)
        settings = dict(scope='network', height=224, width=224, batch=batch, threads=2, precision='fp32')
        printed = {row['network']: float(row['flops_g']) for row in published('table3_imagenet')}
        for index, network in enumerate(NETWORKS):
            giga = printed[network.label]
            figures = timed(batch * giga * (10 + 3 * index), batch)
            add(network.name, network.label, settings, flops=int(giga * 1e9), **figures)
        add('machine', 'Peak', settings, peak_gmacs=400.0, bandwidth_gb_s=20.0)
    return Records(dict(id='c0ffee00', label='Some CPU'), records=found)


def test_a_page_of_a_gpu_says_what_was_computed_and_how(tmp_path):
    records = made_up()
    records.machine = dict(GPU)
    for record in records.records:
        record['settings']['precision'] = 'fp16'
        if 'median_ms' in record['figures']:
            record['figures'] |= {key: record['figures'][key] / 100 for key in ('median_ms', 'throughput')}
            record['figures']['quartiles_ms'] = [value / 100 for value in record['figures']['quartiles_ms']]
    page = REPORT.write(records, tmp_path)['operators.md'].read_text()
    assert 'calls them FLOPS), in fp16\n' in page and 'in channels_last, as CUDA graphs that are replayed.' in page
    assert 'NVIDIA Some GPU' in page and 'allocator' not in page
    (one,) = (row for row in tables(page)[1] if row[:2] == ['Conv', '96 × 56²'])
    assert one[2:4] == ['0.0800', '0.0792–0.0808']


def test_page_and_figure(tmp_path):
    records = made_up()
    records.records[0]['figures']['flags'] = ['it was busy']
    written = REPORT.write(records, tmp_path)
    page = written['operators.md'].read_text()
    assert page == REPORT.page(records)
    costs, one, many, equal, networks, _ = (table[1:] for table in tables(page))
    assert ['DWConv', '768 × 7²', '768', '3.39', '3.38', '0.82', '4.1'] in costs
    # 2601 M in 8 ms.
    assert ['Conv', '96 × 56²', '8.00 \\*', '7.92–8.08', '325.1', '35.67', '72.90'] in one
    # At batch 32 its input is too large.
    assert {row[0] for row in one} - {row[0] for row in many} == {'DWConv alone, widened'}
    # 3 ms over 2, and 2.05, which is a tie.
    assert ['DWConv + PWConv, widened', '96 × 56²', '32', '116', '1.007', '1.93', '1.50'] in equal
    assert {row[6] for row in equal if row[0] == 'T-shaped Conv'} == {'1.02 (*tie*)'}
    assert ['ResNet50', '4.11', '4.11', '115', '8.69', '35.7', '73.0', '56.3'] in networks
    text = ' '.join(page.split())
    # A sixteenth of the FLOPs in an eighth of the time; the paper's by hand from Table 1.
    assert '*PConv*, compared with *Conv*, is faster at 4 of 4 sizes: it reaches 0.50 times the GMAC/s' in text
    assert '8.00 times as many feature maps per second (the paper, on its CPU: 0.41 to 0.78 and 6.53 to 12.49)' in text
    assert 'compared with *PConv in place*, is slower at 4 of 4 sizes: it reaches 0.80 times the GMAC/s' in text
    assert 'compared with *T-shaped Conv*, is tied at 4 of 4 sizes' in text
    # PConv at 768 × 7² has 162.57 M in 10 · 350592 elements of 4 bytes: at 20 GB/s the roof is 231.8 GMAC/s.
    assert 'They meet at 20.0 multiply-adds per byte.' in text and 'PConv 41 to 70 %' in text
    # 1000 / 10 and 1000 / 19 GMAC/s.
    assert 'FasterNet-T0 reaches 100.0 GMAC/s, more than all 7 other networks' in text
    assert 'FasterNet-S reaches 52.6 GMAC/s, more than all 7 other networks' in text
    assert (tmp_path / 'operators.png').read_bytes().startswith(b'\x89PNG')


def test_what_speaks_against_pconv_stands_first():
    records = made_up()
    for record in records.records:
        if record['row'] == 'fasternet_s':
            record['figures'].update(median_ms=1e6, quartiles_ms=[1e6, 1e6])
    section = REPORT.page(records).split('\n## ')[1]
    # Twice the 0.5 ms of DWConv, and 1 ms over 0.8.
    assert 'compared with *DWConv*, is slower at 4 of 4 sizes' in section and '2.00 times the latency' in section
    assert 'compared with *PConv in place*, is slower' in section and '1.25 times the latency' in section
    assert 'T-shaped' not in section and 'compared with *Conv*' not in section
    assert 'FasterNet-S reaches 0.0 GMAC/s, fewer than 7 of 7' in section and 'ResNet50 (0.90 times' in section
    assert 'FasterNet-T0' not in section


def test_sizes_that_the_paper_does_not_have(short, tmp_path):
    records = measure_operators(Plan((TINY,), (1, 2), networks=(), threads=1, rounds=1), tmp_path / 'r.json')
    text = REPORT.write(records, tmp_path)['operators.md'].read_text()
    assert 'the paper, on its' not in text and 'None was measured.' in text
    # Killed while a cell was saved: what is complete is drawn.
    records.records.pop()
    text = REPORT.write(records, tmp_path)['operators.md'].read_text()
    assert 'Batch 1: *PConv*' in text and 'Batch 2' not in text
