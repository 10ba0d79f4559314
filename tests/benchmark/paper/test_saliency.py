"""The T shape: filters made by hand, random filters as the control, the page, and what is refused."""

import pytest
import torch
from helpers.markdown import tables

from mmfasternet.benchmark.paper.saliency.measure import filters_of, measure_saliency, position_norms, salient_counts
from mmfasternet.benchmark.paper.saliency.report import REPORT, pooled_counts
from mmfasternet.benchmark.records import Records
from mmfasternet.errors import UserError

CENTRE = 4


def filters(count: int, position: int, channels: int = 3) -> torch.Tensor:
    """Filters whose norm is largest at one position."""
    weight = torch.full((count, channels, 9), 0.1)
    weight[:, :, position] = -0.5
    return weight.view(count, channels, 3, 3)


@pytest.fixture
def checkpoint(tmp_path):
    """A detector: 60 filters with a salient centre and 20 with a salient corner, and layers that are not counted."""
    state_dict = {
        'backbone.a.weight': filters(60, CENTRE),
        'backbone.b.weight': torch.cat([filters(20, 8), torch.zeros(5, 3, 3, 3)]),
        'backbone.depthwise.weight': filters(7, 0, channels=1),
        'backbone.stem.weight': torch.ones(4, 3, 7, 7),
        'neck.conv.weight': filters(9, 1),
    }
    path = tmp_path / 'detector.pth'
    torch.save(dict(state_dict=state_dict), path)
    return path


def test_norms_are_over_channels():
    weight = torch.zeros(2, 2, 3, 3)
    weight[0, :, 0, 2] = torch.tensor([3.0, -4.0])
    weight[1, 0, 2, 1] = 2
    norms = position_norms(weight)
    assert norms[0].tolist() == [0, 0, 5, 0, 0, 0, 0, 0, 0]
    assert norms[1].tolist() == [0, 0, 0, 0, 0, 0, 0, 2, 0]


def test_one_large_weight_does_not_outdo_a_larger_norm():
    # √(3 · 4) > 3: the largest weight stands at a corner, the largest norm at the centre.
    weight = torch.zeros(1, 3, 3, 3)
    weight[0, 0, 0, 0], weight[0, :, 1, 1] = 3, -2
    assert salient_counts(weight) == [0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_filters_of_zeros_have_no_salient_position():
    assert salient_counts(torch.cat([filters(2, 3), torch.zeros(4, 3, 3, 3)])) == [0, 0, 0, 2, 0, 0, 0, 0, 0]


def test_which_weights_count():
    state_dict = dict(conv=torch.ones(4, 2, 3, 3), transposed=torch.ones(4, 2, 2, 2), norm=torch.ones(4))
    assert list(filters_of(state_dict)) == ['conv']
    assert list(filters_of({**state_dict, 'backbone.conv': torch.ones(4, 2, 3, 3)})) == ['backbone.conv']


def test_counts_and_page(checkpoint, tmp_path):
    records = measure_saliency(checkpoint, 'made by hand', tmp_path / 'records.json')
    assert pooled_counts(records, 'trained').tolist() == [0, 0, 0, 0, 60, 0, 0, 0, 20]
    assert pooled_counts(records, 'random').sum() == 85
    page = REPORT.page(records)
    positions, layers = tables(page)
    assert positions[1][5] == '60 (75.0%)' and positions[1][9] == '20 (25.0%)'
    assert [row[:4] for row in layers[1:]] == [
        ['`backbone.a`', '60', '3', '100.0%'],
        ['`backbone.b`', '25', '3', '0.0%'],
    ]
    assert 'In 60 of 80 trained filters (75.0%) the centre is salient, more often than by chance' in page
    assert 'Trained and random filters differ' in page
    section = page.split('\n## ')[1]
    assert 'In 1 of 2 layers' in section and 'of 80 trained filters' not in section
    written = REPORT.write(records, tmp_path)
    assert written['saliency.md'].read_text() == page
    assert written['saliency.png'].read_bytes().startswith(b'\x89PNG')
    before = (tmp_path / 'records.json').read_bytes()
    measure_saliency(checkpoint, 'made by hand', tmp_path / 'records.json')
    assert (tmp_path / 'records.json').read_bytes() == before


def test_random_weights_do_not_differ(tmp_path):
    generator = torch.Generator().manual_seed(1)
    torch.save({'conv.weight': torch.randn(500, 16, 3, 3, generator=generator)}, tmp_path / 'random.pth')
    page = REPORT.page(measure_saliency(tmp_path / 'random.pth', 'random', tmp_path / 'records.json'))
    assert 'do **not** differ' in page
    assert 'not demonstrably more often' in page.split('\n## ')[1]


def test_another_position_stands_first(tmp_path):
    torch.save({'conv.weight': filters(30, 2)}, tmp_path / 'corner.pth')
    page = REPORT.page(measure_saliency(tmp_path / 'corner.pth', 'corner', tmp_path / 'records.json'))
    assert 'row 1, column 3 (100.0%)' in page.split('\n## ')[1]


def test_refused(checkpoint, tmp_path):
    torch.save({'conv.weight': torch.ones(4, 2, 1, 1)}, tmp_path / 'pointwise.pth')
    with pytest.raises(UserError, match='no 3×3 convolution'):
        measure_saliency(tmp_path / 'pointwise.pth', 'a', tmp_path / 'none.json')
    records = measure_saliency(checkpoint, 'one', tmp_path / 'records.json')
    with pytest.raises(UserError, match="network 'one', but now it is 'other'"):
        measure_saliency(checkpoint, 'other', tmp_path / 'records.json')
    # Interrupted at the start, or before the first random filters.
    for found in ([], records.records[:1]):
        with pytest.raises(UserError, match='nothing to draw'):
            REPORT.write(Records(records.machine, records=found), tmp_path)
