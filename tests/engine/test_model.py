"""What the runner does to a model: the same step in channels_last, and RoIs that mixed precision leaves alone."""

import copy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from helpers.batches import two_images
from helpers.project import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from mmfasternet.engine import training
from mmfasternet.engine.build import build_model, load_model
from mmfasternet.engine.config import load_config
from mmfasternet.engine.model import to_channels_last, widen_rois
from mmfasternet.engine.ops import has_compiled_ops, provide_ops
from mmfasternet.engine.torchvision_ops import TorchvisionOps
from mmfasternet.errors import UserError

pytest.importorskip('mmdet')
CONFIGS = ROOT / 'configs'
TINY = dict(embed_dims=16, depths=(1, 1, 1, 1))
CHANNELS_LAST = torch.channels_last
needs_half = pytest.mark.skipif(torch.__version__ < (2, 6), reason='torch 2.1 lacks operators of float16 on CPUs')


def build(name: str, **options: object) -> nn.Module:
    """The model of a config with a tiny backbone, in training."""
    cfg = load_config(CONFIGS / name, options)
    cfg.model.backbone.update(arch=TINY, init_cfg=None, norm_cfg=dict(type='BN'))
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    return MODELS.build(cfg.model).train()


def classifier() -> tuple[nn.Module, dict]:
    from mmpretrain.structures import DataSample

    model = build('classification/fasternet_t0_imagenet.py', **{'model.head.in_channels': 128, 'model.train_cfg': None})
    samples = [DataSample().set_gt_label(label) for label in (3, 7, 1, 999)]
    return model, dict(inputs=list(torch.randint(256, (4, 3, 64, 96), dtype=torch.uint8)), data_samples=samples)


def segmentor() -> tuple[nn.Module, dict]:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    channels = [16, 32, 64, 128]
    model = build('demo/semantic_fpn_fasternet_t0_shapes.py', **{'model.neck.in_channels': channels})
    truth = [PixelData(data=torch.randint(7, (1, 64, 96))) for _ in range(4)]
    samples = [SegDataSample(metainfo=dict(img_shape=(64, 96)), gt_sem_seg=data) for data in truth]
    model.data_preprocessor.size = (64, 96)
    return model, dict(inputs=list(torch.randint(256, (4, 3, 64, 96), dtype=torch.uint8)), data_samples=samples)


def detector(slim: Path) -> tuple[nn.Module, dict]:
    torch.manual_seed(0)
    model, batch = build_model(slim)[1].train(), two_images()
    for sample in batch['data_samples']:
        sample.gt_instances.labels = torch.tensor([1, 5])
    return model, batch


def step(model: nn.Module, batch: dict) -> tuple[float, dict[str, Tensor], dict[str, Tensor]]:
    """Loss, gradients and buffers of a training step."""
    torch.manual_seed(1)
    loss, _ = model.parse_losses(model(**model.data_preprocessor(copy.deepcopy(batch), training=True), mode='loss'))
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return loss.item(), gradients, dict(model.named_buffers())


@pytest.mark.parametrize('make', [classifier, segmentor])
def test_a_training_step_is_the_same_in_channels_last(make, tmp_path):
    torch.manual_seed(2)
    model, batch = make()
    # In float64 nothing but a wrong value makes a difference.
    model = model.double()
    model.data_preprocessor.register_forward_hook(lambda _, inputs, data: dict(data, inputs=data['inputs'].double()))
    twin = to_channels_last(copy.deepcopy(model))
    formats = []
    twin.backbone.register_forward_hook(
        lambda _, inputs, maps: formats.extend(x.is_contiguous(memory_format=CHANNELS_LAST) for x in maps)
    )
    (loss, *expected), (twin_loss, *found) = step(model, batch), step(twin, batch)
    assert formats and all(formats)
    assert twin_loss == pytest.approx(loss, rel=1e-9)
    # float32 enters by constants of the heads.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
    assert model.state_dict().keys() == twin.state_dict().keys()
    torch.save(dict(state_dict=twin.state_dict()), tmp_path / 'epoch_1.pth')
    load_model(model, tmp_path / 'epoch_1.pth')
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert model.backbone.patch_embed.proj.weight.is_contiguous()


@pytest.mark.parametrize('name', ['fasternet_s_imagenet', 'upernet_fasternet_s', 'semantic_fpn_fasternet_s_cityscapes'])
def test_configs_of_fixed_sizes_are_in_channels_last(name):
    cfg = load_config(name)
    assert cfg.channels_last and cfg.env_cfg.cudnn_benchmark and cfg.train_dataloader.pin_memory


def test_sizes_of_detectors_change():
    cfg = load_config('mask_rcnn_fasternet_s')
    assert not cfg.get('channels_last') and not cfg.env_cfg.cudnn_benchmark


@pytest.fixture
def compiled(monkeypatch):
    """As if mmcv had compiled operators."""
    module = ModuleType('mmcv._ext')
    module.__file__ = '_ext.so'
    monkeypatch.setitem(sys.modules, 'mmcv._ext', module)


@pytest.fixture
def replaced(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv._ext', TorchvisionOps('mmcv._ext'))


def test_a_detector_with_compiled_operators_is_refused(slim, compiled):
    assert has_compiled_ops()
    model = build_model(slim)[1]
    with pytest.raises(UserError, match=r"channels_last=True is not .*mmcv's compiled RoIAlign reads .* wrongly"):
        to_channels_last(model)
    assert model.backbone.patch_embed.proj.weight.is_contiguous()
    to_channels_last(model.backbone)


def test_a_detector_with_torchvisions_operators_computes_the_same(slim, replaced, monkeypatch):
    for name, module in list(sys.modules.items()):
        if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
            monkeypatch.setattr(module, 'ext_module', sys.modules['mmcv._ext'])
    assert not has_compiled_ops()
    model, batch = detector(slim)
    twin = to_channels_last(copy.deepcopy(model))
    (loss, expected, _), (twin_loss, found, _) = step(model, batch), step(twin, batch)
    assert twin_loss == pytest.approx(loss, rel=1e-4)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)


# Mixed precision -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('dtype', [torch.bfloat16, pytest.param(torch.float16, marks=needs_half)])
def test_rois_are_not_rounded(slim, dtype):
    """Their features are those of the rounded feature maps and the exact RoIs."""
    provide_ops()
    extractor = build_model(slim)[1].roi_head.bbox_roi_extractor
    maps = [torch.randn(1, 32, 1344 // stride, 1344 // stride).to(dtype) for stride in (4, 8, 16, 32)]
    rois = torch.tensor([[0, 1001.3, 703.7, 1100.6, 790.2], [0, 333.3, 517.9, 641.7, 1299.1]])
    exact = extractor([x.float() for x in maps], rois)
    rounded = extractor(maps, rois)
    widen_rois(extractor)
    torch.testing.assert_close(extractor(maps, rois), exact, rtol=0, atol=0)
    # More than the features' own rounding.
    assert (rounded.float() - exact.to(dtype).float()).abs().max() > 0.005
    assert extractor([x.double() for x in maps], rois).dtype == torch.float64


@needs_half
def test_a_level_without_rois_does_not_overflow(slim):
    """mmdet adds its sum times 0."""
    provide_ops()
    extractor = build_model(slim)[1].roi_head.bbox_roi_extractor
    maps = [torch.ones(1, 32, 512 // stride, 512 // stride, dtype=torch.float16) for stride in (4, 8, 16, 32)]
    rois = torch.tensor([[0.0, 10, 10, 50, 50]])
    assert extractor(maps, rois).isnan().all()
    widen_rois(extractor)
    assert torch.equal(extractor(maps, rois), torch.ones(1, 32, 7, 7))


def test_a_detector_learns_in_bfloat16(slim):
    """Loss and gradients are about those of float32."""
    model, batch = detector(slim)
    twin = copy.deepcopy(model)
    widen_rois(twin)
    loss, expected, _ = step(model, batch)
    with torch.autocast('cpu', torch.bfloat16):
        low, found, _ = step(twin, batch)
    assert low == pytest.approx(loss, rel=0.03)
    assert all(gradient.isfinite().all() for gradient in found.values())
    directions = [torch.cat([gradient.flatten() for gradient in step.values()]) for step in (expected, found)]
    assert torch.cosine_similarity(*directions, dim=0) > 0.95


@pytest.mark.parametrize('dtype, scale', [(None, 'dynamic'), ('float16', 'dynamic'), ('bfloat16', dict(enabled=False))])
def test_amp_scales_the_loss_of_float16_alone(monkeypatch, dtype, scale):
    built = []
    runner = SimpleNamespace(train=lambda: None)
    monkeypatch.setattr(training, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(training.RUNNERS, 'build', lambda cfg: built.append(cfg) or runner)
    cfg = load_config('fasternet_t0_imagenet', {} if dtype is None else {'optim_wrapper.dtype': dtype})
    training.train(cfg, amp=True)
    (built,) = built
    assert built.optim_wrapper.type == 'AmpOptimWrapper' and built.optim_wrapper.loss_scale == scale


def test_amp_names_its_types(monkeypatch):
    monkeypatch.setattr(training, 'get_device', lambda: 'cuda')
    config = dict(train_dataloader=dict(batch_size=1), train_cfg=dict(max_epochs=1))
    with pytest.raises(UserError, match="optim_wrapper.dtype must be float16 or bfloat16, but got 'bf16'"):
        training.train(Config(dict(config, optim_wrapper=dict(type='OptimWrapper', dtype='bf16'))), amp=True)
