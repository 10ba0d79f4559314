"""Redundancy of feature maps: correlations with known answers, the photographs, the network, and the page."""

import math

import numpy as np
import pytest
import torch
from helpers.markdown import tables
from PIL import Image
from torch import nn

from mmfasternet.benchmark.paper.photographs import photographs, read_square
from mmfasternet.benchmark.paper.redundancy.measure import Plan, best_correlations, measure_redundancy, shifted
from mmfasternet.benchmark.paper.redundancy.report import REPORT
from mmfasternet.benchmark.paper.subject import RGBNetwork, Subject, choose_subject, digest
from mmfasternet.errors import UserError


class Twins:
    """A network whose eight maps, trained, are four and their negatives, and differ with random weights."""

    name = 'twins'

    def build(self, trained: bool = True) -> RGBNetwork:
        torch.manual_seed(0)
        conv = nn.Conv2d(3, 8, 3)
        if trained:
            conv.weight.data[4:] = -2 * conv.weight.data[:4]
        return RGBNetwork(nn.Sequential(conv), (0.0,), (255.0,), bgr=False)


@pytest.fixture
def images(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    for index, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f'{index}.png')
    return photographs(tmp_path)


def test_best_correlations():
    ramp = torch.arange(12.0).view(3, 4)
    even = torch.tensor([1.0, -1.0, -1.0, 1.0]).expand(3, 4)
    best = best_correlations(torch.stack([ramp, 5 - 3 * ramp, even, torch.full((3, 4), 7.0)]))
    assert best[:3] == pytest.approx([1, 1, 0], abs=1e-6)
    assert math.isnan(best[3])
    # The only map that varies has no other to be like.
    assert all(map(math.isnan, best_correlations(torch.stack([ramp, torch.zeros(3, 4)]))))


def test_correlations_are_those_of_numpy():
    maps = torch.randn(6, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = np.abs(np.corrcoef(maps.flatten(1).numpy()))
    np.fill_diagonal(expected, 0)
    assert best_correlations(maps) == pytest.approx(expected.max(axis=1), abs=1e-5)


def test_shifted_maps_keep_their_values():
    maps = torch.arange(2 * 6 * 7.0).view(2, 6, 7)
    moved = shifted(maps)
    assert not torch.equal(moved, maps)
    assert torch.equal(moved.flatten(1).sort(dim=1).values, maps.flatten(1))
    assert torch.equal(moved, shifted(maps))


def test_records_and_page(images, tmp_path):
    plan, out = Plan(images, layer='0', pixels=32), tmp_path / 'out/records.json'
    records = measure_redundancy(Twins(), plan, out)
    trained, random = (
        [record['figures'] for record in records.records if record['settings']['weights'] == weights]
        for weights in ('trained', 'random')
    )
    assert all(value == 1 for figures in trained for value in figures['best_correlations'])
    assert all(value < 1 for figures in random for value in figures['best_correlations'])
    assert all(value < 0.9 for figures in trained for value in figures['best_correlations_shifted'])
    page = REPORT.page(records)
    (table,) = tables(page)
    summary = {row[0]: row[1:] for row in table[1:]}
    assert summary['0, trained'] == ['1.00', '1.00 – 1.00', '100%', '0']
    assert summary['**all, trained, each map shifted**'][2] == '0%'
    # All channels have a near copy, which random weights have not.
    assert 'Nothing that was measured here' in page
    written = REPORT.write(records, out.parent)
    assert written['redundancy.md'].read_text() == page
    assert written['redundancy.png'].read_bytes().startswith(b'\x89PNG')
    before = out.read_bytes()
    measure_redundancy(Twins(), plan, out)
    assert out.read_bytes() == before


def test_what_speaks_against_redundancy_stands_first(images, tmp_path):
    records = measure_redundancy(Twins(), Plan(images, layer='0', pixels=32), tmp_path / 'records.json')
    swapped = dict(trained='random', random='trained')
    for record in records.records:
        record['settings']['weights'] = swapped[record['settings']['weights']]
    section = REPORT.page(records).split('\n## ')[1]
    assert 'With random weights 100% of the channels are near copies' in section and 'after the training 0%' in section
    assert (
        '0% of the channels of the trained network that vary are near copies of another, and 100% have none' in section
    )


def test_photographs(images):
    pytest.importorskip('skimage')
    bundled = photographs()
    assert all(path.is_file() for path in bundled)
    batch = read_square(bundled, 64)
    assert batch.shape == (len(bundled), 3, 64, 64) and batch.dtype == torch.uint8
    # The middle of a wide picture.
    assert torch.equal(read_square(images[:1], 40)[0, :, :, 0], read_pixels(images[0])[:, :, 10])


def read_pixels(path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1)


def test_network_gets_the_channels_and_scale_it_was_trained_with():
    images = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    out = RGBNetwork(nn.Identity(), (1.0, 2.0, 3.0), (2.0,), bgr=True)(images)
    assert out.flatten().tolist() == [14.5, 9, 3.5]


def test_a_checkpoint_of_timm(tmp_path):
    timm = pytest.importorskip('timm')
    torch.manual_seed(3)
    weights = timm.create_model('resnet10t').state_dict()
    torch.save(weights, tmp_path / 'resnet10t.pth')
    subject = Subject(timm='resnet10t', checkpoint=tmp_path / 'resnet10t.pth')
    assert digest(subject.build().body.state_dict()) == digest(weights)
    assert digest(subject.build(trained=False).body.state_dict()) != digest(weights)
    with pytest.raises(UserError, match='timm has no network'):
        Subject(timm='resnet_of_nobody').build()
    del weights['fc.bias']
    torch.save(weights, tmp_path / 'resnet10t.pth')
    with pytest.raises(UserError, match="does not fit timm's resnet10t: 1 missing: fc.bias"):
        subject.build()


def test_refused(images, tmp_path):
    with pytest.raises(UserError, match="'layer1'; it has 0"):
        measure_redundancy(Twins(), Plan(images), tmp_path / 'a.json')
    with pytest.raises(UserError, match='needs weights'):
        choose_subject('a.py', None, None, default='trained_resnet18')
    with pytest.raises(UserError, match='needs its network'):
        choose_subject(None, None, 'a.pth', default='trained_resnet18')
    with pytest.raises(UserError, match='either as --config'):
        choose_subject('a.py', 'resnet18', 'a.pth', default='trained_resnet18')
