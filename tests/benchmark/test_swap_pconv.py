"""What PConv changes in a network: the figures, the tool, and the guide's table."""

import re

import pytest
from helpers.project import ROOT, run_in_process
from helpers.swapped import PAGES, RECORDS, found_table, make_table
from torch import nn

from mmfasternet.benchmark.measure.swap import build_network, measure_swap
from mmfasternet.benchmark.records import Records, describe_machine
from mmfasternet.errors import UserError

TOOL = ROOT / 'tools/swap_pconv.py'
NET = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, bias=False)).eval()


def test_figures_of_a_small_network():
    found = measure_swap(NET, (32, 48), 1 / 4, threads=None, rounds=1)
    maps = 16 * 24
    assert found['swapped'] == 1 and found['left'] == {'stride 2': 1}
    assert found['flops_before'] == maps * (9 * 3 * 16 + 9 * 16 * 16)
    assert found['flops_after'] == maps * (9 * 3 * 16 + 9 * 4 * 4 + 16 * 16)
    assert found['params_before'] - found['params_after'] == 9 * 16 * 16 - 9 * 4 * 4 - 16 * 16
    assert found['max_difference'] > 0.1 and 'before' not in found


def test_latencies_are_those_of_the_clock_and_make_a_record():
    found = measure_swap(NET, (32, 32), 1 / 4, threads=1, rounds=2)
    for when in ('before', 'after'):
        assert len(found[when]['rounds']) == 2 and found[when]['median_ms'] > 0
    record = Records(describe_machine()).add(dict(kind='swap', row='net', label='Net', **found))
    assert record['threads'] == 1 and record['shape'] == [32, 32]


def test_a_network_without_such_convolutions_takes_no_time():
    net = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.Conv2d(16, 16, 1)).eval()
    found = measure_swap(net, (32, 32), 1 / 4, threads=1, rounds=2)
    assert found['swapped'] == 0 and found['max_difference'] == 0 and 'before' not in found


def test_outputs_of_every_form_are_compared():
    class Forms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Conv2d(3, 8, 3, padding=1)
            self.wide = nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x):
            return dict(first=self.net(x), rest=(self.wide(self.net(x)), [x]))

    found = measure_swap(Forms().eval(), (8, 8), 1 / 4, threads=None, rounds=1)
    assert found['swapped'] == 1 and found['max_difference'] > 0


def test_networks_by_their_names():
    timm = pytest.importorskip('timm')
    assert type(build_network('resnet18')) is type(timm.create_model('resnet18'))
    assert not timm.is_model('shufflenet_v2_x0_5')
    assert type(build_network('shufflenet_v2_x0_5')).__name__ == 'ShuffleNetV2'
    assert not build_network('resnet18').training


def test_the_difference_of_a_residual_network_is_seen():
    """timm's start as the identity, so that their convolutions would change nothing."""
    pytest.importorskip('timm')
    assert measure_swap(build_network('resnet18'), (64, 64), 1 / 4, threads=None, rounds=1)['max_difference'] > 0.05


def test_mistakes_are_one_message(mistake_of):
    pytest.importorskip('timm')
    assert mistake_of(TOOL, 'resnet5O').startswith("error: 'resnet5O' is no network of timm or torchvision")
    assert 'config absent.py does not exist' in mistake_of(TOOL, 'absent.py')
    with pytest.raises(UserError, match='takes no image of 2 × 2 pixels'):
        measure_swap(nn.Sequential(nn.Conv2d(3, 8, 4), nn.Flatten()), (2, 2), 1 / 4, threads=None, rounds=1)


@pytest.mark.parametrize(
    ('arguments', 'message'), [(['--ratio', '2'], '--ratio must be in (0, 1]'), (['--rounds', '0'], 'at least 1')]
)
def test_options_out_of_range(arguments, message, mistake_of, capsys):
    assert mistake_of(TOOL, 'resnet18', *arguments) == '2'
    assert message in capsys.readouterr().err


def test_the_tool_says_what_changed_and_keeps_it(tmp_path, capsys):
    pytest.importorskip('timm')
    out = tmp_path / 'records.json'
    run_in_process(TOOL, 'test_resnet', 'mobilenetv3_small_050', '--shape', 64, 64, '--no-latency', '--out', out)
    shown = capsys.readouterr().out
    assert 'another function until it is trained' in ' '.join(shown.split())
    assert 'nothing to swap' in shown and 'depthwise' in shown
    resnet, mobilenet = Records.read(out).of_kind('swap')
    assert resnet['swapped'] > 0 and resnet['flops_after'] < resnet['flops_before']
    assert mobilenet['swapped'] == 0 and mobilenet['flops_after'] == mobilenet['flops_before']


def test_a_config_means_its_backbone():
    pytest.importorskip('mmdet')
    model = build_network(str(ROOT / 'configs/baselines/mask_rcnn_resnet50.py'))
    assert type(model).__name__ == 'ResNet' and not model.training
    found = measure_swap(model, (64, 64), 1 / 4, threads=None, rounds=1)
    # One in each bottleneck, but for the first ones of stages 2 to 4.
    assert found['swapped'] == 13 and found['left'] == {'stride 2': 4}


# The guide.


@pytest.mark.parametrize('language', PAGES)
def test_the_guides_table_is_that_of_the_records(language):
    assert found_table(PAGES[language].read_text(encoding='utf-8')) == make_table(Records.read(RECORDS), language)


@pytest.mark.parametrize('language', PAGES)
def test_the_guides_ratios_of_operators_are_those_of_their_records(language):
    records = Records.read(ROOT / 'docs/results/paper/operators/records.json')
    spans = []
    for batch in (1, 32):
        ratios = [
            records.find('paper', 'pconv_pwconv', settings=conv['settings'])['figures']['median_ms']
            / conv['figures']['median_ms']
            for conv in records.of_kind('paper', row='conv3x3')
            if conv['settings']['batch'] == batch
        ]
        assert len(ratios) == 4
        spans += [f'{min(ratios):.2f}', f'{max(ratios):.2f}']
    page = PAGES[language].read_text(encoding='utf-8')
    assert re.findall(r'(\d\.\d\d) (?:to|到) (\d\.\d\d)', page) == [tuple(spans[:2]), tuple(spans[2:])]
    # The multiply-adds of a PConv and a 1×1, of those of a 3×3 convolution.
    assert f'{(9 / 16 + 1) / 9:.2f}' == '0.17' and '0.17' in page


def test_the_counts_of_the_records_are_those_of_the_networks():
    timm = pytest.importorskip('timm')
    records = Records.read(RECORDS)
    if records.machine['packages'].get('timm') != timm.__version__:
        pytest.skip('counted with another timm')
    record = records.find('swap', 'resnet18')
    found = measure_swap(build_network('resnet18'), tuple(record['shape']), record['partial_ratio'], None, 1)
    keys = ('params_before', 'params_after', 'flops_before', 'flops_after', 'swapped', 'left')
    assert {key: found[key] for key in keys} == {key: record[key] for key in keys}
