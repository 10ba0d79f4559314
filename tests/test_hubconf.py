"""torch.hub and a loop in plain PyTorch: a FasterNet needs no runner of mmengine."""

import runpy
from importlib.util import find_spec

import pytest
import torch
from helpers.golden import golden_image, golden_outputs, golden_state_dict
from helpers.project import ROOT
from mmengine.runner import Runner
from torch import nn

from mmfasternet import FasterNet, PConv
from mmfasternet.errors import UserError
from mmfasternet.models.variants import VARIANTS
from mmfasternet.weights.reader import CheckpointError


@pytest.fixture(autouse=True)
def no_runner(monkeypatch):
    """Nothing here may make one."""

    def refuse(*_, **__):
        raise AssertionError('a Runner was made')

    monkeypatch.setattr(Runner, '__init__', refuse)


def from_hub(name: str, **options) -> nn.Module:
    return torch.hub.load(str(ROOT), name, source='local', **options)


def test_hub_lists_the_variants_alone():
    """By the rule of ``torch.hub.list``, which takes repositories of GitHub alone."""
    names = runpy.run_path(str(ROOT / 'hubconf.py'))
    listed = [name for name, value in names.items() if callable(value) and not name.startswith('_')]
    assert listed == [f'fasternet_{arch}' for arch in VARIANTS]
    assert [names[name].__name__ for name in listed] == listed
    assert 'FasterNet-T0 as a backbone' in names['fasternet_t0'].__doc__


def test_hub_imports_what_it_depends_on():
    for name in runpy.run_path(str(ROOT / 'hubconf.py'))['dependencies']:
        assert find_spec(name), name


@pytest.mark.parametrize('arch', ['t0', 's'])
def test_hub_gives_the_authors_maps(arch, tmp_path):
    torch.save(dict(model=golden_state_dict(arch)), tmp_path / 'file.pth')
    model = from_hub(f'fasternet_{arch}', checkpoint=tmp_path / 'file.pth').eval()
    golden = golden_outputs(arch)
    with torch.no_grad():
        outs = model(golden_image())
    for index, out in enumerate(outs):
        for name, part in dict(mean=out[0].mean((1, 2)), corner=out[0, :16, :3, :3]).items():
            expected = torch.from_numpy(golden[f'{name}{index}'])
            torch.testing.assert_close(part, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('arch', VARIANTS)
def test_hub_builds_what_was_asked_for(arch):
    model = from_hub(f'fasternet_{arch}', out_indices=(1, 3), out_norm=False)
    assert type(model) is FasterNet and model.arch == arch and model.out_indices == (1, 3) and not model.output_norms
    spread = model.stages[0].blocks[0].mlp[0].weight.std()
    assert 0.01 < spread < 0.03


def test_hub_reads_the_released_file_when_pretrained(monkeypatch):
    asked = []

    def read(checkpoint, *_, **__):
        asked.append(checkpoint)
        return golden_state_dict('t0', 'classification')

    monkeypatch.setattr('mmfasternet.weights.initialize.read_checkpoint', read)
    weight = from_hub('fasternet_t0', pretrained=True).state_dict()['patch_embed.proj.weight']
    assert asked == [VARIANTS['t0'].checkpoint]
    assert torch.equal(weight, golden_state_dict('t0')['patch_embed.proj.weight'])


def test_hub_refuses_what_does_not_fit(tmp_path):
    torch.save(golden_state_dict('t0'), tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match="it fits arch='t0', but arch='t1' was asked for"):
        from_hub('fasternet_t1', checkpoint=tmp_path / 'file.pth')
    with pytest.raises(UserError, match='pass pretrained=True .* or checkpoint=FILE, not both'):
        from_hub('fasternet_t0', pretrained=True, checkpoint=tmp_path / 'file.pth')


def test_a_plain_loop_of_torch_trains():
    """Classes that differ in the direction of their stripes, which a PConv sees and one pixel does not."""
    torch.manual_seed(0)
    net = FasterNet(dict(embed_dims=16, depths=(1, 1, 1, 1)), out_indices=(2,))
    net.init_weights()
    model = nn.Sequential(net, Last(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(30):
        images, labels = stripes(16)
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, labels = stripes(64)
    with torch.no_grad():
        assert (model.eval()(images).argmax(1) == labels).float().mean() > 0.9


class Last(nn.Module):
    def forward(self, maps):
        return maps[-1]


def stripes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.randint(2, (count,))
    upright = (torch.arange(32) // 8 % 2).float().expand(count, 3, 32, 32)
    images = torch.where(labels.view(-1, 1, 1, 1) == 1, upright, upright.transpose(2, 3))
    return images + 0.1 * torch.randn(count, 3, 32, 32), labels


def test_pconv_learns_in_any_network():
    torch.manual_seed(0)
    x = torch.rand(4, 8, 6, 6)
    pconv, target = PConv(8), torch.rand(4, 8, 6, 6)
    loss = (pconv(x)[:, :2] - target[:, :2]).square().mean()
    loss.backward()
    step = -0.1 * pconv.partial_conv3.weight.grad
    with torch.no_grad():
        pconv.partial_conv3.weight += step
        assert (pconv(x)[:, :2] - target[:, :2]).square().mean() < loss
        assert torch.equal(pconv(x)[:, 2:], x[:, 2:])
