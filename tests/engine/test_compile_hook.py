"""A compiled backbone computes what it computed before, under the same keys."""

import copy
import shutil
from functools import partialmethod
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmfasternet import FasterNet
from mmfasternet.engine import compile_hook as module
from mmfasternet.engine.compile_hook import CompileBackboneHook
from mmfasternet.errors import UserError

TINY = dict(embed_dims=8, depths=(1, 1, 1, 1))
needs_compile = pytest.mark.skipif(not hasattr(nn.Module, 'compile'), reason='torch 2.1 may lack nn.Module.compile')


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = FasterNet(TINY, norm_cfg=dict(type='GN', num_groups=4))

    def forward(self, image):
        return sum((x * x).mean() for x in self.backbone(image))


@needs_compile
def test_a_step_is_the_same(monkeypatch):
    """By the graphs that Inductor would take; its code for the backbone takes minutes on a CPU to make."""
    torch.manual_seed(0)
    model = Model()
    peer, keys = copy.deepcopy(model), list(model.state_dict())
    compile_by = partialmethod(nn.Module.compile, backend='aot_eager')
    monkeypatch.setattr(nn.Module, 'compile', compile_by)
    monkeypatch.setattr(shutil, 'which', lambda name: f'/usr/bin/{name}')
    CompileBackboneHook().before_run(SimpleNamespace(model=model))
    image = torch.randn(2, 3, 64, 96)
    losses = [network(image) for network in (model, peer)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)
    gradients = ([parameter.grad for parameter in network.parameters()] for network in (model, peer))
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
    assert list(model.state_dict()) == keys
    peer.load_state_dict(model.state_dict())


@needs_compile
def test_it_is_the_backbone_that_is_compiled(monkeypatch):
    """Also in a wrapper, such as that of several processes."""
    compiled = []
    monkeypatch.setattr(nn.Module, 'compile', lambda self, **options: compiled.append((self, options)))
    monkeypatch.setattr(shutil, 'which', lambda name: f'/usr/bin/{name}')
    model, wrapped = Model(), nn.Module()
    wrapped.module = model
    monkeypatch.setattr(module, 'is_model_wrapper', lambda network: network is wrapped)
    CompileBackboneHook(dynamic=True).before_run(SimpleNamespace(model=wrapped))
    assert compiled == [(model.backbone, dict(dynamic=True))]


def test_a_config_asks_for_it(build_runner):
    runner = build_runner(custom_hooks=[dict(type='CompileBackboneHook', dynamic=False)])
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, CompileBackboneHook))
    assert hook.dynamic is False


def test_what_is_missing_is_one_message(monkeypatch):
    hook = CompileBackboneHook()
    with pytest.raises(UserError, match='Linear has no backbone'):
        hook.before_run(SimpleNamespace(model=nn.Linear(1, 1)))
    monkeypatch.setenv('CXX', 'no-such-compiler')
    with pytest.raises(UserError, match=r'needs no-such-compiler: install it|no nn\.Module\.compile'):
        hook.before_run(SimpleNamespace(model=Model()))
    meta = SimpleNamespace(model=Model().to('meta'))  # any device but the CPU
    monkeypatch.setattr(module, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r'needs Triton on a GPU: pip install|no nn\.Module\.compile'):
        hook.before_run(meta)
    monkeypatch.setattr(module, 'find_spec', lambda name: name)
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    monkeypatch.delenv('CC', raising=False)
    with pytest.raises(UserError, match=r'needs gcc or clang: install it|no nn\.Module\.compile'):
        hook.before_run(meta)
    monkeypatch.delattr(nn.Module, 'compile', raising=False)
    with pytest.raises(UserError, match=r'torch .* has no nn\.Module\.compile'):
        hook.before_run(meta)
