"""The examples that put FasterNet into transformers and ultralytics, as far as they go without either.

Both are optional, and transformers 5 cannot be imported beside mmpretrain: with them, the complete examples are run.
"""

import importlib.util
import re
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from helpers.golden import golden_image, golden_state_dict
from helpers.project import ROOT, succeed
from torch import nn

from mmfasternet import FasterNet
from mmfasternet.models.to_timm import save_for_timm
from mmfasternet.models.variants import VARIANTS
from mmfasternet.weights.reader import CheckpointError

EXAMPLES = ROOT / 'docs/examples'


def load_example(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# transformers.


@pytest.fixture
def transformers_example():
    return load_example('fasternet_transformers')


@pytest.fixture(scope='module')
def for_timm(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('timm')
    torch.save(golden_state_dict('t0', 'classification'), folder / 'classifier.pth')
    save_for_timm(folder / 'classifier.pth', folder / 'for_timm.safetensors')
    return folder / 'for_timm.safetensors'


class Wrapped(nn.Module):
    """Where ``TimmBackbone`` has timm's network."""

    def __init__(self, **options) -> None:
        super().__init__()
        import timm

        self._backbone = timm.create_model('fasternet_t0', features_only=True, **options)


@pytest.mark.parametrize('frozen', [False, True])
def test_weights_of_a_training_are_those_in_transformers(frozen, transformers_example, for_timm):
    timm_layers = pytest.importorskip('timm.layers')
    backbone = Wrapped(out_indices=(1, 2, 3)).eval()
    if frozen:
        timm_layers.freeze_batch_norm_2d(backbone)
    transformers_example.load_backbone(backbone, for_timm)
    ours = FasterNet('t0', out_indices=(1, 2, 3), out_norm=False).eval()
    golden = golden_state_dict('t0')
    ours.load_state_dict({key: golden[key] for key in ours.state_dict()})
    with torch.no_grad():
        torch.testing.assert_close(backbone._backbone(golden_image()), list(ours(golden_image())), atol=1e-4, rtol=1e-4)


def test_a_file_of_another_variant_is_an_error_in_transformers(transformers_example, for_timm):
    pytest.importorskip('timm')
    with pytest.raises(RuntimeError, match='size mismatch for _backbone.patch_embed.proj.weight'):
        transformers_example.load_backbone(Wrapped(embed_dim=64), for_timm)


def test_channels_in_transformers_are_those_of_the_variants(transformers_example):
    expected = {f'fasternet_{name}': variant.embed_dims for name, variant in VARIANTS.items()}
    assert expected == transformers_example.CHANNELS


@pytest.mark.skipif(find_spec('transformers') is None, reason='transformers is optional: docs/other_libraries.md')
@pytest.mark.parametrize('kind', ['rt_detr', 'd_fine'])
def test_detectors_of_transformers(kind, for_timm):
    done = succeed(EXAMPLES / 'fasternet_transformers.py', kind, 'fasternet_t0', for_timm, '--classes', '3')
    assert 'logits (1, 300, 3) boxes (1, 300, 4)' in done.stdout


# ultralytics.


@pytest.fixture
def tasks(monkeypatch) -> types.ModuleType:
    """Where ultralytics looks up the names of a YAML."""
    modules = {name: types.ModuleType(name) for name in ('ultralytics', 'ultralytics.nn', 'ultralytics.nn.tasks')}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition('.')
        if parent:
            setattr(modules[parent], child, module)
    return modules['ultralytics.nn.tasks']


def test_ultralytics_finds_the_backbone_by_its_name(tasks):
    assert load_example('fasternet_ultralytics').FasterNetMaps is tasks.FasterNetMaps


def test_the_backbone_in_ultralytics_is_a_fasternet_with_the_given_weights(tasks, tmp_path):
    load_example('fasternet_ultralytics')
    golden = golden_state_dict('t0')
    torch.save(golden, tmp_path / 'file.pth')
    ours = FasterNet('t0', out_indices=(1, 2, 3)).eval()
    ours.load_state_dict({key: golden[key] for key in ours.state_dict()})
    maps = tasks.FasterNetMaps('fasternet_t0', tmp_path / 'file.pth').eval()
    with torch.no_grad():
        found = maps(golden_image())
        assert isinstance(found, list) and all(map(torch.equal, found, ours(golden_image())))
    with pytest.raises(CheckpointError, match="it fits arch='t0'"):
        tasks.FasterNetMaps('fasternet_t1', tmp_path / 'file.pth')


def test_the_yaml_takes_the_maps_as_they_are(tasks):
    load_example('fasternet_ultralytics')
    layers = yaml.safe_load((EXAMPLES / 'yolo_fasternet_t0.yaml').read_text())['backbone']
    _, _, name, arguments = layers[0]
    maps = getattr(tasks, name)(*arguments)(torch.rand(1, 3, 64, 64))
    picked = [arguments for source, _, name, arguments in layers if name == 'Index' and source == 0]
    assert picked == [[out.shape[1], index] for index, out in enumerate(maps)]
    assert [64 // out.shape[2] for out in maps] == [8, 16, 32]


def test_the_channels_in_the_comment_of_the_yaml():
    text = (EXAMPLES / 'yolo_fasternet_t0.yaml').read_text()
    found = {name: list(map(int, row.split(', '))) for name, row in re.findall(r'(T1|T2|S|M|L): ([\d, ]+\d)', text)}
    assert found == {one.label: list(one.channels[1:]) for one in VARIANTS.values() if one.label != 'T0'}
