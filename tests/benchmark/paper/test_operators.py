"""The study of operators: costs against the paper's Table 1 and torch's counter, records, and the page of them."""

import re
import time

import pytest
import torch
from helpers.project import ROOT
from torch import nn

from mmfasternet.benchmark.measure import timing
from mmfasternet.benchmark.measure.complexity import count_operators
from mmfasternet.benchmark.paper.operators import measure as operators
from mmfasternet.benchmark.paper.operators.costs import (
    conv_cost,
    dwconv_cost,
    dwconv_pwconv_cost,
    pconv_cost,
    pconv_pwconv_cost,
    tconv_cost,
    width_for,
)
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
from mmfasternet.benchmark.paper.operators.networks import NETWORKS, Network, build_network, from_timm
from mmfasternet.benchmark.paper.operators.report import operators_page, truncated, write_operators
from mmfasternet.benchmark.published.tables import published
from mmfasternet.benchmark.records.records import describe_machine, new_document, read_records
from mmfasternet.errors import UserError
from mmfasternet.files import write_json

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
    assert pconv_pwconv_cost(c, part, h, w, k).flops == h * w * (k**2 * part**2 + c**2)
    # A batch has its maps many times, and its weights once.
    assert conv_cost(c, h, w, k).memory_accesses(32) == 32 * h * w * 2 * c + k**2 * c**2
    with pytest.raises(ValueError, match='16 groups do not divide 40 channels'):
        conv_cost(40, h, w, groups=16)


@pytest.mark.parametrize('operator', OPERATORS, ids=lambda operator: operator.name)
def test_torch_counts_as_many(operator):
    for size in (TINY, SIZES[0]):
        width = operator.width(size)
        maps = torch.empty(2, width, size.pixels, size.pixels, device='meta')
        counted = count_operators(build_layers(operator, size).to('meta'), maps)['flops_full']
        assert counted == 2 * LAYERS * operator.cost(size, width).flops


@pytest.mark.parametrize('size', SIZES, ids=lambda size: str(size.channels))
def test_widened_operators_have_equal_flops(size):
    wanted = size.of(pconv_pwconv_cost, size.channels, size.convolved).flops
    alone = BY_NAME['dwconv_widened'].width(size)
    assert size.of(dwconv_cost, alone).flops == wanted
    paired = BY_NAME['dwconv_pwconv_widened'].width(size)
    gaps = [abs(size.of(dwconv_pwconv_cost, paired + more).flops - wanted) for more in (-1, 0, 1)]
    assert min(gaps) == gaps[1] < 0.01 * wanted


@pytest.mark.parametrize(
    ('wanted', 'step', 'width'), [(99, 1, 10), (91, 1, 10), (90, 1, 9), (1, 4, 4), (70, 4, 8), (0, 1, 1)]
)
def test_nearest_width(wanted, step, width):
    assert width_for(wanted, lambda width: width**2, step) == width


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
def test_ten_layers_neither_fade_nor_explode(operator):
    width = operator.width(TINY)
    out = build_layers(operator, TINY)(torch.randn(1, width, 14, 14, generator=torch.Generator().manual_seed(0)))
    assert 0.05 < float(out.std()) < 50


@pytest.mark.parametrize('network', NETWORKS, ids=lambda network: network.name)
def test_networks_have_the_flops_of_table_3(network):
    printed = {row['network']: float(row['flops_g']) for row in published('table3_imagenet')}
    # Two decimals are printed, and some classifiers are left out.
    assert build_network(network, 224)[1] / 1e9 == pytest.approx(printed[network.label], abs=0.015)


def test_a_network_that_folding_changes_is_refused():
    """Its norms contain the activation, which folding would lose."""
    with pytest.raises(UserError, match='Some folded computes something else .* leave it out of --networks'):
        build_network(Network('some', 'Some', lambda: from_timm('mobilenetv2_050')), 64)


@pytest.fixture
def constant_limits(monkeypatch):
    monkeypatch.setattr(operators, 'peak_gmacs', lambda device: 50.0)
    monkeypatch.setattr(operators, 'bandwidth_gb_s', lambda device: 10.0)


def test_records_and_what_is_there_is_not_measured_again(constant_limits, tmp_path, monkeypatch):
    plan, path = Plan((TINY,), (2,), networks=('fasternet_t0',), pixels=64, threads=1, rounds=2), tmp_path / 'r.json'
    document = measure_operators(plan, path)
    assert document == read_records(path)
    rows = [(record['row'], record['settings']['scope']) for record in document['records']]
    assert rows == [
        *((operator.name, 'layers') for operator in OPERATORS),
        ('machine', 'layers'),
        ('fasternet_t0', 'network'),
        ('machine', 'network'),
    ]
    first = document['records'][0]['figures']
    assert len(first['rounds']) == 2 and first['flops'] == 10 * conv_cost(32, 14, 14).flops
    assert first['memory_accesses'] == 10 * (2 * 14 * 14 * 2 * 32 + 9 * 32**2)
    assert first['throughput'] == pytest.approx(2000 / first['median_ms'], rel=1e-3)

    monkeypatch.setattr(operators, 'measure_cell', None)
    before = path.read_bytes()
    measure_operators(plan, path)
    assert path.read_bytes() == before
    # Without the last record of a cell, the cell is measured again, and nothing else.
    document['records'].pop()
    write_json(path, document)
    cells = []
    monkeypatch.setattr(operators, 'measure_cell', lambda cell, *_: cells.append(cell.title))
    measure_operators(plan, path)
    assert cells == ['networks, batch 2']
    with pytest.raises(UserError, match='taken on another machine'):
        measure_operators(Plan(threads=2), path)


def test_turns_of_models_alternate():
    order = []

    def model(name):
        return lambda x: (order.append(name), time.sleep(0.002))

    contenders = {name: timing.Contender(name, model(name), torch.rand(1)) for name in 'abc'}
    timing.time_in_turns(contenders, 'cpu', threads=1, rounds=3)
    turns = [name for name, before in zip(order, [None, *order], strict=False) if name != before]
    # A try of each, and then three rounds, each of which begins with the next.
    assert ''.join(turns) == 'abc' + 'abc' + 'bca' + 'cab'


def test_bandwidth_counts_three_tensors(monkeypatch):
    monkeypatch.setattr(timing, 'TRIAD', 2**20)
    monkeypatch.setattr(timing, 'shortest', lambda function, device: function().numel() / 1e9)
    # 12 bytes an element, and so many elements in as many nanoseconds.
    assert timing.bandwidth_gb_s('cpu') == pytest.approx(12)


def made_up():
    """PConv takes 1 ms, and the others what is said here times as long; all maps as in the paper."""
    times = dict(conv3x3=8, gconv3x3_16groups=4, dwconv3x3=0.5, pconv3x3_in_place=0.8, pconv_pwconv=2)
    times |= dict(dwconv_pwconv_widened=3, dwconv_widened=5, tconv=2.5)
    document, origin = new_document(describe_machine('cpu', 2)), dict(date='2026-01-01T00:00:00', commit='0123456789')

    def add(row, label, settings, **figures):
        document['records'].append(
            dict(kind='study', study='operators', row=row, label=label, settings=settings, figures=figures, **origin)
        )

    def timed(ms, batch):
        return dict(median_ms=ms, quartiles_ms=[0.9 * ms, 1.1 * ms], throughput=1000 * batch / ms, flags=[], rounds=[])

    for batch in (1, 32):
        for size in SIZES:
            settings = dict(scope='layers', channels=size.channels, height=size.pixels, width=size.pixels, batch=batch)
            for operator in operators_at(size, batch):
                width = operator.width(size)
                cost = operator.cost(size, width)
                costs = dict(flops=10 * cost.flops, memory_accesses=10 * cost.memory_accesses(batch))
                ms = float(batch * times.get(operator.name, 1))
                add(
                    operator.name,
                    operator.label,
                    settings,
                    layers=10,
                    width_channels=width,
                    **costs,
                    **timed(ms, batch),
                )
            add('machine', 'Peak', settings, peak_gmacs=400.0, bandwidth_gb_s=20.0)
        settings = dict(scope='network', height=224, width=224, batch=batch)
        for index, network in enumerate(NETWORKS):
            giga = float({row['network']: row for row in published('table3_imagenet')}[network.label]['flops_g'])
            ms = batch * giga * (10 + 3 * index)
            add(network.name, network.label, settings, flops=int(giga * 1e9), **timed(ms, batch))
        add('machine', 'Peak', settings, peak_gmacs=400.0, bandwidth_gb_s=20.0)
    return document


def test_page_and_picture(tmp_path):
    document = made_up()
    document['records'][0]['figures']['flags'] = ['it was busy']
    written = write_operators(document, tmp_path)
    text = written['operators.md'].read_text()
    assert text == operators_page(document)
    lines = text.splitlines()
    assert '16 of the 16 FLOPs that the paper prints in Table 1 are the computed ones' in text
    assert '| DWConv | 768 × 7² | 768 | 3.39 | 3.38 | 0.82 | 4.1 |' in lines
    # 2601 M in 8 ms.
    assert '| Conv | 96 × 56² | 8.00 \\* | 7.20–8.80 | 325.1 | 35.67 | 72.90 |' in lines
    assert '\\* marks the 1 of 90 that are flagged' in text
    # A sixteenth of the FLOPs in an eighth of the time; the paper's by hand from Table 1.
    assert (
        '- Batch 1: PConv has 0.50 times the FLOPS of Conv, and 8.00 times its speed (the paper, on its CPU: 0.41 to '
        '0.78 and 6.53 to 12.49).'
    ) in lines
    assert '- Batch 1: in place, PConv runs at 1.25 times the speed of the one that concatenates.' in lines
    assert '| DWConv + PWConv, widened | 96 × 56² | 32 | 116 | 1.007 | 1.93 | 1.50 |' in lines
    assert 'takes 2.50 times as long; it is slower at 4 of 4 sizes.' in text
    # At batch 32 its maps are too large.
    assert text.count('| DWConv alone, widened | 96 × 56² |') == 3
    # PConv at 768 × 7² has 162.57 M in 10 · 350592 elements of 4 bytes: at 20 GB/s the roof is 231.8 G/s.
    assert 'They meet at 20.0 multiply-adds a byte.' in text and 'PConv 41 to 70 %' in text
    assert '| ResNet50 | 4.11 | 4.11 | 115 | 8.69 | 35.7 | 73.0 | 56.3 |' in lines
    assert 'Places of 11: FasterNet-T0 1, FasterNet-T1 2, FasterNet-T2 3, FasterNet-S 4.' in text
    svg = written['operators.svg'].read_text()
    assert all(operator.label in svg for operator in OPERATORS) and all(network.label in svg for network in NETWORKS)
    assert written['operators.png'].read_bytes().startswith(b'\x89PNG')


def test_sizes_that_the_paper_has_not(constant_limits, tmp_path):
    document = measure_operators(Plan((TINY,), (1, 2), networks=(), threads=1, rounds=1), tmp_path / 'r.json')
    text = write_operators(document, tmp_path)['operators.md'].read_text()
    assert 'The paper has none of these sizes.' in text and 'the paper, on its' not in text
    assert 'None was measured.' in text
    # Killed while a batch was saved: what is whole is drawn.
    document['records'].pop()
    text = write_operators(document, tmp_path)['operators.md'].read_text()
    assert 'Batch 1: PConv' in text and 'Batch 2' not in text


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--networks', 'resnet51'], 'no network is called resnet51; choose from fasternet_t0, '),
        (['--batches', '0'], 'a batch must have at least 1 map, but got 0'),
        (['--device', 'abacus'], "device 'abacus' can not be used here"),
        (['--threads', '0'], 'threads must be at least 1, but got 0'),
        (['--report-only'], 'can not read .*records.json'),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else '',
)
def test_mistakes_are_one_sentence(arguments, message, mistake_of, tmp_path):
    sentence = mistake_of(ROOT / 'tools/paper/operators.py', '--out-dir', tmp_path, *arguments)
    assert re.match(f'error: .*{message}', sentence)
