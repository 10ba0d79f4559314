"""What is read is what ``torch.load`` reads: value, type, strides, sharing and gradients, from every form of a file."""

import copy
import warnings

import pytest
import torch
from helpers.checkpoints import assert_same
from helpers.fuzz_reader import seeds
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmfasternet.weights.reader import read_checkpoint, read_metadata


class Toy(BaseModel):
    """As small as a model that mmengine trains can be."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))

    def forward(self, inputs: torch.Tensor, mode: str) -> dict:
        return dict(loss=self.layer(inputs).square().mean())

    def train_step(self, data, optim_wrapper) -> dict:
        loss = self(data, mode='loss')
        optim_wrapper.update_params(loss['loss'])
        return loss


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A checkpoint that mmengine writes: weights, their averages, optimizer, schedule, histories and config."""
    folder = tmp_path_factory.mktemp('trained')
    runner = Runner(
        Toy(),
        str(folder),
        train_dataloader=DataLoader([torch.rand(1, 4, 4) for _ in range(4)], batch_size=2),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=dict(type='MultiStepLR', milestones=[1], gamma=0.1),
        custom_hooks=[dict(type='EMAHook')],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        experiment_name=folder.name,
    )
    runner.train()
    return folder / 'epoch_2.pth'


def torch_load(path, weights_only: bool):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return torch.load(path, map_location='cpu', weights_only=weights_only)


def check(path) -> None:
    found = read_checkpoint(path)
    assert_same(found, torch_load(path, weights_only=False))
    try:
        assert_same(found, torch_load(path, weights_only=True))
    except Exception as refusal:
        # Before torch 2.6 it has no message of its own for most of this.
        assert not isinstance(refusal, AssertionError), refusal
    if isinstance(found, dict):
        assert_same(without_values(read_metadata(path)), without_values(found))


def without_values(node):
    """The records, with shapes in place of tensors."""
    if isinstance(node, torch.Tensor):
        return str(node.dtype), tuple(node.shape), node.stride(), node.requires_grad, type(node).__name__
    if isinstance(node, dict):
        return {key: without_values(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_values(value) for value in node]
    return node


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_every_form_of_a_file(protocol, legacy, tmp_path):
    for number, content in enumerate(seeds()):
        path = tmp_path / f'{number}.pth'
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
        check(path)


def test_checkpoint_of_a_training_with_averages(trained):
    check(trained)
    found = read_checkpoint(trained)
    assert {'state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', 'message_hub', 'meta'} <= found.keys()
    history = found['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer) and len(history.data[0]) == 4
    assert history.statistics('mean') == history.data[0].mean()


@pytest.mark.parametrize('legacy', [False, True])
def test_what_was_shared_is_shared(legacy, tmp_path):
    base = torch.arange(12.0)
    tied = nn.Parameter(torch.ones(2))
    torch.save(dict(a=base[2:], b=base.view(3, 4).t(), c=tied, d=tied), tmp_path / 'file.pth')
    found = read_checkpoint(tmp_path / 'file.pth')
    found['a'][0] = -1
    assert found['b'][2, 0] == -1 and found['c'] is found['d']
    assert found['a'].untyped_storage().nbytes() == 48


def test_what_is_read_can_be_trained_and_copied(tmp_path):
    torch.save(dict(w=nn.Parameter(torch.ones(2))), tmp_path / 'file.pth')
    weight = read_checkpoint(tmp_path / 'file.pth')['w']
    weight.sum().backward()
    assert weight.grad.tolist() == [1, 1]
    assert copy.deepcopy(weight).is_leaf


def test_storages_go_where_a_function_says(tmp_path):
    torch.save(dict(a=torch.arange(4), b=torch.ones(2)), tmp_path / 'file.pth')
    asked = []

    def place(storage, location):
        asked.append((storage.nbytes(), location))
        return storage.clone() if len(asked) == 1 else None

    found = read_checkpoint(tmp_path / 'file.pth', place)
    assert sorted(asked) == [(8, 'cpu'), (32, 'cpu')]
    assert found['a'].tolist() == [0, 1, 2, 3] and found['b'].tolist() == [1, 1]
    assert read_checkpoint(tmp_path / 'file.pth', 'meta')['a'].is_meta
