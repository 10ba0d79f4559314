"""One switch for trust reaches everything that reads a checkpoint."""

import argparse
import re

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from torch import nn

from mmfasternet import FasterNet
from mmfasternet.weights.initialize import load_pretrained
from mmfasternet.weights.reader import (
    UntrustedCheckpointError,
    add_trust_checkpoint,
    read_checkpoint,
    trust_checkpoints,
    use_safe_reader,
)

TINY = dict(embed_dims=8, depths=(1, 1, 1, 1))


@pytest.fixture(autouse=True)
def distrust():
    """The switch is off before and after each test."""
    trust_checkpoints(False)
    yield
    trust_checkpoints(False)


@pytest.fixture
def safe_mmengine(monkeypatch):
    """mmengine reads safely during the test."""
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    use_safe_reader()


class Plain(BaseModule):
    """A model of others, whose ``init_cfg`` mmengine reads."""

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.layer = nn.Linear(2, 2)


def fasternet(**options):
    return FasterNet(TINY, **options)


def classifier_head(**options):
    pytest.importorskip('mmpretrain')
    from mmfasternet.models.classifier_head import FasterNetClsHead

    return FasterNetClsHead(3, in_channels=8, hidden_channels=4, **options)


def timm_features(**options):
    pytest.importorskip('timm')
    from mmfasternet.models.timm_features import TimmFeatures

    return TimmFeatures('test_resnet', **options)


def save_pickled(model: nn.Module, path) -> str:
    """A file of a model's own weights, with an object beside them that needs trust."""
    if hasattr(model, 'avgpool_pre_head'):
        state_dict = {f'head.{key}': value for key, value in model.state_dict().items()}
    else:
        state_dict = getattr(model, 'body', model).state_dict()
    torch.save(dict(state_dict=state_dict, args=argparse.Namespace()), path)
    return str(path)


@pytest.mark.parametrize('build', [fasternet, classifier_head, timm_features, Plain])
def test_switch_reaches_init_cfg(build, tmp_path, safe_mmengine):
    source = build()
    file = save_pickled(source, tmp_path / 'pickled.pth')

    def initialize():
        model = build(init_cfg=dict(type='Pretrained', checkpoint=file))
        model.init_weights()
        return model.state_dict()

    for _ in range(2):  # on, and off again
        trust_checkpoints(False)
        with pytest.raises(UntrustedCheckpointError, match='pickled.pth .*argparse.Namespace'):
            initialize()
        trust_checkpoints()
        found = initialize()
        assert all(torch.equal(found[key], value) for key, value in source.state_dict().items())


@pytest.mark.parametrize('build', [fasternet, classifier_head, timm_features])
def test_trust_of_one_init_cfg(build, tmp_path):
    file = save_pickled(build(), tmp_path / 'pickled.pth')
    build(init_cfg=dict(type='Pretrained', checkpoint=file, trust=True)).init_weights()
    with pytest.raises(UntrustedCheckpointError):
        build(init_cfg=dict(type='Pretrained', checkpoint=file, trust=False)).init_weights()


def test_switch_reaches_every_reader(tmp_path, safe_mmengine):
    model = fasternet()
    file = save_pickled(model, tmp_path / 'pickled.pth')
    readers = (read_checkpoint, CheckpointLoader.load_checkpoint, lambda file: load_pretrained(model, file))
    for read in readers:
        with pytest.raises(UntrustedCheckpointError):
            read(file)
    trust_checkpoints()
    for read in readers:
        read(file)


def test_trust_in_one_call_leaves_the_switch(tmp_path):
    file = save_pickled(fasternet(), tmp_path / 'pickled.pth')
    read_checkpoint(file, trust=True)
    with pytest.raises(UntrustedCheckpointError):
        read_checkpoint(file)


def test_refusal_names_ways_that_work(tmp_path):
    file = save_pickled(fasternet(), tmp_path / 'pickled.pth')
    with pytest.raises(UntrustedCheckpointError) as error:
        read_checkpoint(file)
    parser = argparse.ArgumentParser()
    add_trust_checkpoint(parser)
    [flag] = re.findall(r'pass (--\S+) ', str(error.value))
    trust_checkpoints(parser.parse_args([flag]).trust_checkpoint)
    read_checkpoint(file)
    trust_checkpoints(parser.parse_args([]).trust_checkpoint)
    with pytest.raises(UntrustedCheckpointError):
        read_checkpoint(file)
    [call] = re.findall(r'call mmfasternet\.weights\.(\w+)\(\)', str(error.value))
    import mmfasternet.weights

    getattr(mmfasternet.weights, call)()
    read_checkpoint(file)
