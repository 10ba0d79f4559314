"""Which sizes get a CUDA graph, what it returns, and when it is dropped; the capture itself needs a GPU."""

import copy
import pickle
from unittest.mock import MagicMock, call, create_autospec

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmfasternet import FasterNet
from mmfasternet.deploy import graphs, optimize_for_inference
from mmfasternet.deploy.graphs import CapturedBackbone, capture

SLIM = dict(embed_dims=8, depths=(1, 1, 1, 1))


class Gpu:
    """In place of CUDA: a graph that runs the backbone and writes the results where the first ones were."""

    def __init__(self) -> None:
        self.captured: list[tuple] = []
        self.replays = 0
        self.memories: list = []

    def capture(self, backbone: nn.Module, x: torch.Tensor, memory: object) -> graphs._Graph:
        image = x.clone()
        maps = tuple(out.clone() for out in backbone(image))
        self.captured.append(tuple(x.shape[2:]))
        self.memories.append(memory)

        def replay() -> None:
            self.replays += 1
            for kept, out in zip(maps, backbone(image), strict=True):
                kept.copy_(out)

        return graphs._Graph(replay, memory or 'the memory', image, maps)


@pytest.fixture
def gpu(monkeypatch) -> Gpu:
    gpu = Gpu()
    monkeypatch.setattr(graphs, '_capture_graph', gpu.capture)
    monkeypatch.setattr(graphs, '_is_capturable', lambda x: True)
    return gpu


@pytest.fixture
def backbone() -> FasterNet:
    torch.manual_seed(0)
    return FasterNet(SLIM).eval()


def image(side: int, **options) -> torch.Tensor:
    return torch.rand(1, 3, side, side, **options)


def same(maps, others) -> bool:
    return all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(maps, others, strict=True))


@torch.no_grad()
def test_a_size_is_captured_when_it_comes_again(gpu, backbone):
    captured = capture(backbone, sizes=2)
    for side in (32, 64, 32, 32, 64, 96, 64):
        x = image(side)
        assert same(captured(x), backbone(x))
    # 32 at the third call, 64 at the fifth. 96 came once.
    assert gpu.captured == [(32, 32), (64, 64)] and gpu.replays == 2 + 2


@torch.no_grad()
def test_more_sizes_in_turn_than_graphs_are_never_captured(gpu, backbone):
    captured = capture(backbone, sizes=2)
    for side in (32, 64, 96) * 3:
        captured(image(side))
    assert gpu.captured == []


@torch.no_grad()
def test_the_size_that_was_not_used_for_longest_is_dropped(gpu, backbone):
    captured = capture(backbone, sizes=2)
    for side in (32, 32, 64, 64, 32, 96, 96):
        captured(image(side))
    assert [key[0][-1] for key in captured.graphs] == [32, 96]
    assert gpu.captured == [(32, 32), (64, 64), (96, 96)]
    # All in the memory of the first.
    assert gpu.memories == [None, 'the memory', 'the memory']
    # It starts anew, as any other size.
    captured(image(64))
    assert len(gpu.captured) == 3
    captured(image(64))
    assert len(gpu.captured) == 4 and [key[0][-1] for key in captured.graphs] == [96, 64]


@pytest.mark.parametrize('static_outputs', [False, True])
@torch.no_grad()
def test_outputs_are_copies_unless_they_are_static(gpu, backbone, static_outputs):
    captured = capture(backbone, static_outputs=static_outputs)
    first, second = image(32), image(32)
    captured(first)
    maps = captured(first)
    assert same(maps, backbone(first))
    captured(second)
    assert same(maps, backbone(second if static_outputs else first))


@torch.no_grad()
def test_other_types_and_memory_formats_are_other_inputs(gpu, backbone):
    captured = capture(backbone.double())
    wide = image(64, dtype=torch.float64)
    inputs = [
        wide,
        wide.contiguous(memory_format=torch.channels_last),
        wide[:, :, ::2, ::2],
        wide.expand(2, -1, -1, -1),
    ]
    for x in inputs * 2:
        assert same(captured(x), backbone(x))
    assert len(captured.graphs) == 4
    with torch.inference_mode():
        assert same(captured(wide), backbone(wide))


@torch.no_grad()
def test_autocast_is_part_of_the_key(gpu, backbone, monkeypatch):
    captured = capture(backbone)
    x = image(32)
    captured(x)
    monkeypatch.setattr(graphs, 'autocast_type', lambda x: torch.float16)
    captured(x)
    assert gpu.captured == []
    captured(x)
    assert gpu.captured == [(32, 32)]


def test_it_runs_as_it_is_in_training_and_with_gradients(gpu, backbone):
    captured = capture(backbone)
    x = image(64)
    for _ in range(2):
        sum(out.sum() for out in captured(x)).backward()
    assert backbone.stages[0].blocks[0].mlp[0].weight.grad is not None
    with torch.no_grad():
        captured.train()
        assert backbone.training and captured.training and backbone.stages.training
        for _ in range(2):
            captured(x)
        captured.eval()
        assert not backbone.training and not backbone.stages.training
    assert gpu.captured == []


@torch.no_grad()
def test_it_runs_as_it_is_on_the_cpu_and_in_compilers(backbone):
    captured = capture(backbone)
    x = image(32)
    for _ in range(3):
        assert same(captured(x), backbone(x))
    assert not captured.graphs and not captured.recent
    traced = torch.jit.trace(captured, x)
    compiled = torch.compile(captured, backend='eager')
    for forward in (traced, compiled):
        assert same(forward(x), backbone(x))


CHANGES = {
    'to': lambda captured: captured.to(torch.float64),
    'half': lambda captured: captured.bfloat16(),
    'of a parent': lambda captured: nn.Sequential(captured).to(torch.float64),
    'load_state_dict': lambda captured: captured.load_state_dict(captured.state_dict()),
    'of a parent, load_state_dict': lambda captured: load(nn.Sequential(captured)),
}


def load(model: nn.Module) -> None:
    model.load_state_dict({key: value + 1 for key, value in model.state_dict().items()})


@pytest.mark.parametrize('change', CHANGES)
@torch.no_grad()
def test_changed_weights_drop_the_graphs(gpu, backbone, change):
    captured = capture(backbone)
    for _ in range(2):
        captured(image(32))
    assert captured.graphs
    CHANGES[change](captured)
    assert not captured.graphs and not captured.recent
    x = image(32, dtype=backbone.patch_embed.proj.weight.dtype)
    for _ in range(3):
        assert same(captured(x), backbone(x))


@torch.no_grad()
def test_copies_and_pickles_have_no_graphs(gpu, backbone):
    captured = capture(optimize_for_inference(backbone))
    x = image(32)
    for _ in range(2):
        expected = captured(x)
    for other in (copy.deepcopy(captured), pickle.loads(pickle.dumps(captured))):
        assert not other.graphs and not other.recent
        # Their children are those of their own backbone.
        assert other.stages is other.backbone.stages and other.stages is not captured.stages
        assert same(other(x), expected)
    assert captured.graphs


@torch.no_grad()
def test_inside_a_detector(gpu):
    init_default_scope('mmdet')
    neck = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, num_outs=4)
    backbone = dict(type='FasterNet', arch=SLIM)
    head = dict(type='RetinaHead', num_classes=3, in_channels=8)
    detector = MODELS.build(dict(type='SingleStageDetector', backbone=backbone, neck=neck, bbox_head=head)).eval()
    for model in (detector, optimize_for_inference(detector)):
        keys, x = list(model.state_dict()), image(64)
        expected = model.extract_feat(x)
        model.backbone = capture(model.backbone)
        assert list(model.state_dict()) == keys
        assert {name for name, _ in model.named_parameters()} <= set(keys)
        assert (model.backbone.out_indices, model.backbone.in_channels) == ((0, 1, 2, 3), 3)
        with pytest.raises(AttributeError, match='no_such_name'):
            _ = model.backbone.no_such_name
        for _ in range(3):
            assert same(model.extract_feat(x), expected)
        model.load_state_dict(model.state_dict())
        assert not model.backbone.graphs


@pytest.mark.parametrize('dtype', [None, torch.float16])
def test_the_capture_asks_cuda_for_the_right_things(backbone, monkeypatch, dtype):
    for name in ('device', 'Stream', 'CUDAGraph'):
        monkeypatch.setattr(torch.cuda, name, MagicMock(name))
    monkeypatch.setattr(torch.cuda, 'graph', create_autospec(torch.cuda.graph))
    capturing = torch.cuda.graph.return_value.__enter__
    autocast = MagicMock('autocast')
    monkeypatch.setattr(torch, 'autocast', autocast)
    monkeypatch.setattr(graphs, 'autocast_type', lambda x: dtype)
    forwards = []

    def forward(x: torch.Tensor):
        forwards.append((x, capturing.called))
        return backbone(x)

    x = image(32)
    with torch.inference_mode():
        graph = graphs._capture_graph(forward, x, None)
    # The last one is captured, and reads what a replay will read, which is written in any mode. Those before are not
    # on its stream, which would have memory outside the graph's.
    assert [captured for _, captured in forwards] == [False, False, False, True]
    assert all(each is graph.image for each, _ in forwards)
    assert graph.image is not x and torch.equal(graph.image, x) and not graph.image.is_inference()
    with torch.no_grad():
        assert same(graph.maps, backbone(x))
    assert not any(out.requires_grad for out in graph.maps)
    made, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    assert torch.cuda.graph.call_args == call(made, None, stream, capture_error_mode='thread_local')
    assert graph.replay is made.replay and graph.memory == (made.pool(), stream)
    assert autocast.call_args_list == ([] if dtype is None else [call('cuda', dtype, cache_enabled=False)])
    # Another size: on the same stream, since torch would not reuse the memory on another.
    torch.cuda.Stream.return_value = 'another stream'
    assert graphs._capture_graph(forward, image(64), graph.memory).memory == graph.memory
    assert torch.cuda.graph.call_args == call(made, made.pool(), stream, capture_error_mode='thread_local')


def test_mistakes(backbone):
    with pytest.raises(ValueError, match='sizes must be at least 1, but got 0'):
        capture(backbone, sizes=0)
    with pytest.raises(TypeError, match="which is an nn.Module, but got 't0'"):
        capture('t0')
    with pytest.raises(TypeError, match='optimize_for_inference comes before capture'):
        optimize_for_inference(capture(backbone))
    backbone.stages[0].register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match=r'calls no forward hooks, so remove those on the backbone first: stages\.0'):
        capture(backbone)
    assert isinstance(capture(FasterNet(SLIM)), CapturedBackbone)
