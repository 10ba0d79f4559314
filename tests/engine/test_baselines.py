"""The baselines' configs resolve to the recipes of their published AP, build, and learn."""

import re
import sys
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from helpers.batches import two_images
from helpers.project import ROOT
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmfasternet.benchmark.published.rows import BUILT_ROWS, ROWS, TRAINED_ROWS, Row, find_row
from mmfasternet.benchmark.published.tables import published
from mmfasternet.engine.config import load_config
from mmfasternet.errors import UserError
from mmfasternet.models.timm_features import TimmFeatures
from mmfasternet.weights.reader import CheckpointError

BASELINES = {row.name: row for row in BUILT_ROWS if row.config.startswith('configs/baselines/')}
ONE_PER_FAMILY = {row.family: row.name for row in reversed(BASELINES.values())}.values()

SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
ADAMW = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4))
PVT_LARGE = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4 / 1.4, weight_decay=1e-4))
REPVIT = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.05))
SWIN = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            'absolute_pos_embed': dict(decay_mult=0.0),
            'relative_position_bias_table': dict(decay_mult=0.0),
            'norm': dict(decay_mult=0.0),
        }
    ),
)
CONVNEXT = dict(
    type='AmpOptimWrapper',
    constructor='LearningRateDecayOptimizerConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.95, decay_type='layer_wise', num_layers=6),
)
CONVNEXT_1X = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05))
NEXTVIT = dict(
    type='AmpOptimWrapper',
    loss_scale=512.0,
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys=dict(bn=dict(decay_mult=0.0), norm=dict(decay_mult=0.0))),
)
MAMBAOUT = dict(type='AmpOptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05))
# Family, or a backbone that differs from its family → optimizer, warm-up iterations, epochs with the two that lower the
# learning rate, batch size of 8 GPUs.
RECIPES = dict(
    ResNet=(SGD, 500, (12, 8, 11), 16),
    ResNeXt=(SGD, 500, (12, 8, 11), 16),
    PVT=(ADAMW, 500, (12, 8, 11), 16),
    pvt_large=(PVT_LARGE, 500, (12, 8, 11), 8),
    PoolFormer=(ADAMW, 500, (12, 8, 11), 16),
    RepViT=(REPVIT, 500, (12, 8, 11), 16),
    Swin=(SWIN, 1000, (12, 8, 11), 16),
    ConvNeXt=(CONVNEXT, 1000, (36, 27, 33), 16),
    convnext_tiny_1x=(CONVNEXT_1X, 500, (12, 8, 11), 16),
    PVTv2=(ADAMW, 500, (12, 8, 11), 16),
    SwiftFormer=(ADAMW, 500, (12, 8, 11), 32),
    FastViT=(ADAMW, 500, (12, 8, 11), 16),
    MambaOut=(MAMBAOUT, 500, (12, 8, 11), 16),
    CPUBone=(REPVIT, 500, (12, 8, 11), 16),
    **{'Next-ViT': (NEXTVIT, 500, (12, 8, 11), 16)},
)
# Families with BN in evaluation mode, and with BN that learns; what is frozen of stem and first stage.
EVAL_BN = ('ResNet', 'ResNeXt', 'RepViT', 'Next-ViT', 'CPUBone')
TRAINED_BN = ('SwiftFormer', 'FastViT')
FROZEN = {family: {'conv1', 'bn1', 'layer1'} for family in ('ResNet', 'ResNeXt')}
FROZEN['Next-ViT'] = {'stem_0', 'stem_1', 'stem_2', 'stem_3', 'stages_0'}
TABLE_4 = {line['backbone']: line for line in published('table4_coco')}
# Stochastic depth of the last block.
DROP_PATH = dict(pvt_small=0.1, swin_tiny=0.2, convnext_tiny_3x=0.4, convnext_tiny_1x=0.1, cpubone_b2=0.1)
DROP_PATH |= dict(pvt_v2_b0=0.1, pvt_v2_b1=0.1, pvt_v2_b2=0.1, pvt_v2_b3=0.1, nextvit_small=0.1, nextvit_base=0.2)


def row_config(name: str):
    return load_config(ROOT / find_row(name).config)


def build(cfg) -> nn.Module:
    cfg.model.backbone.init_cfg = None
    init_default_scope('mmdet')
    return MODELS.build(cfg.model)


def millions_in_table_4(row: Row) -> float:
    return float(TABLE_4[row.label]['params_m'])


def test_every_line_of_table_4_is_a_row():
    rows = {row.label: row for row in ROWS}
    assert rows.keys() >= TABLE_4.keys()
    for label in TABLE_4:
        assert 'Table 4' in rows[label].published.source
    assert not any(row.published for row in TRAINED_ROWS)


def test_published_figures():
    s = find_row('fasternet_s').published
    assert (s.box_ap, s.box_ap50, s.box_ap75, s.mask_ap, s.mask_ap50, s.mask_ap75) == (
        39.9,
        61.2,
        43.6,
        36.9,
        58.1,
        39.7,
    )
    assert (s.params_m, s.flops_g, s.latency_ms, s.latency_device) == (49.0, 258, 54.3, 'RTX 2080 Ti')
    repvit, swin = find_row('repvit_m1_1').published, find_row('swin_tiny').published
    assert (repvit.box_ap, repvit.mask_ap75, repvit.flops_g) == (39.8, 40.1, None) and 'RepViT' in repvit.source
    assert (swin.box_ap, swin.mask_ap, swin.box_ap50) == (42.7, 39.3, None)
    assert find_row('convnext_tiny_3x').schedule.startswith('3x')
    assert find_row('fasternet_t0').published is None


def test_every_baseline_is_a_row():
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs/baselines').glob('*.py')}
    assert files == {row.config for row in BASELINES.values()}
    assert len({row.name for row in (*ROWS, *TRAINED_ROWS)}) == len((*ROWS, *TRAINED_ROWS))


@pytest.mark.parametrize('name', BASELINES)
def test_recipe(name):
    cfg = row_config(name)
    optim_wrapper, warm_up, (epochs, *milestones), batch = RECIPES.get(name) or RECIPES[BASELINES[name].family]
    assert cfg.optim_wrapper == optim_wrapper
    start = 1e-6 if BASELINES[name].family == 'Next-ViT' else 0.001
    assert cfg.param_scheduler == [
        dict(type='LinearLR', start_factor=start, by_epoch=False, begin=0, end=warm_up),
        dict(type='MultiStepLR', begin=0, end=epochs, by_epoch=True, milestones=milestones, gamma=0.1),
    ]
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.train_dataloader.batch_size == batch // 8
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=batch)
    if name != 'convnext_tiny_3x':
        resize, flip = cfg.train_dataloader.dataset.pipeline[2:4]
        assert resize == dict(type='Resize', scale=(1333, 800), keep_ratio=True)
        assert flip == dict(type='RandomFlip', prob=0.5)
    assert cfg.model.backbone.init_cfg.type == 'Pretrained'
    assert cfg.load_from is None and cfg.runner_type == 'StrictRunner'
    assert 'FasterNet' not in cfg.pretty_text


def test_convnext_has_the_augmentation_of_mmdet():
    scales = [(side, 1333) for side in (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)]
    resized, cropped = row_config('convnext_tiny_3x').train_dataloader.dataset.pipeline[3].transforms
    assert resized == [dict(type='RandomChoiceResize', scales=scales, keep_ratio=True)]
    assert cropped[0].scales == [(400, 1333), (500, 1333), (600, 1333)]
    assert cropped[1] == dict(
        type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600), allow_negative_crop=True
    )
    assert cropped[2] == resized[0]


@pytest.mark.parametrize('name', BASELINES)
def test_builds_offline(name, monkeypatch):
    monkeypatch.setattr('socket.socket.connect', lambda *_: pytest.fail('a build that asks the network'))
    cfg = row_config(name)
    detector = build(cfg).train()
    trainable = sum(parameter.numel() for parameter in detector.parameters() if parameter.requires_grad)
    row = BASELINES[name]
    if row.label in TABLE_4:
        assert trainable / 1e6 == pytest.approx(millions_in_table_4(row), abs=0.05)

    frozen = {
        key.removeprefix('body.').split('.')[0]
        for key, value in detector.backbone.named_parameters()
        if not value.requires_grad
    }
    assert frozen == FROZEN.get(row.family, set())
    training = {module.training for module in detector.backbone.modules() if isinstance(module, _BatchNorm)}
    assert training == ({False} if row.family in EVAL_BN else {True} if row.family in TRAINED_BN else set())
    rates = [getattr(module, 'drop_prob', 0.0) for module in detector.backbone.modules()]
    assert max(rates) == pytest.approx(DROP_PATH.get(name, 0.0))

    detector.eval()
    with torch.no_grad():
        maps = detector.backbone(torch.rand(1, 3, 64, 96))
    sizes = [(64 // stride, 96 // stride) for stride in (4, 8, 16, 32)]
    assert [map_.shape[1:] for map_ in maps] == [
        (channels, *size) for channels, size in zip(cfg.model.neck.in_channels, sizes, strict=True)
    ]


@pytest.mark.parametrize('row', [row for row in BASELINES.values() if row.provenance.recipe], ids=lambda row: row.name)
def test_the_table_names_the_recipe_of_the_config(row):
    optimizer, lr, *decay = row.provenance.recipe.split(', ')
    told = row_config(row.name).optim_wrapper.optimizer
    assert (optimizer, lr) == (told.type, f'lr {told.lr:.6g}')
    assert decay in ([], [f'weight decay {told.weight_decay:g}'])


@pytest.mark.parametrize('arch', ['s', 'm', 'l'])
def test_fasternet_has_the_parameters_of_the_table(arch):
    row = find_row(f'fasternet_{arch}')
    trainable = sum(p.numel() for p in build(row_config(row.name)).parameters() if p.requires_grad)
    assert trainable / 1e6 == pytest.approx(millions_in_table_4(row), abs=0.05)


@pytest.mark.parametrize('name', ['convnext_tiny_3x', 'swin_tiny'])
def test_parameters_get_the_recipes_own_rates(name):
    cfg = row_config(name)
    # Mixed precision can only be built where there is a GPU.
    cfg.optim_wrapper.type = 'OptimWrapper'
    detector = build(cfg)
    groups = build_optim_wrapper(detector, cfg.optim_wrapper).optimizer.param_groups
    options = {id(parameter): group for group in groups for parameter in group['params']}
    assert options.keys() == {id(parameter) for parameter in detector.parameters()}
    for key, parameter in detector.named_parameters():
        group = options[id(parameter)]
        if name == 'swin_tiny':
            spared = 'norm' in key or 'relative_position_bias_table' in key
            assert (group['lr'], group['weight_decay']) == (1e-4, 0 if spared else 0.05)
        else:
            assert group['weight_decay'] == (0 if parameter.dim() == 1 else 0.05)
    if name == 'convnext_tiny_3x':
        rates = {key: options[id(parameter)]['lr'] for key, parameter in detector.named_parameters()}
        assert rates['backbone.downsample_layers.0.0.weight'] == pytest.approx(1e-4 * 0.95**7)
        assert rates['backbone.stages.2.8.depthwise_conv.weight'] == pytest.approx(1e-4 * 0.95**2)
        assert rates['rpn_head.rpn_conv.weight'] == pytest.approx(1e-4)


@pytest.mark.parametrize('name', ONE_PER_FAMILY)
def test_learns(name):
    torch.manual_seed(0)
    cfg = row_config(name)
    if 'drop_path_rate' in cfg.model.backbone:
        # A dropped block gets no gradient.
        cfg.model.backbone.drop_path_rate = 0.0
    if name.startswith('nextvit'):
        # From random weights the signal vanishes, unless BN scales it.
        cfg.model.backbone.norm_eval = False
    detector = build(cfg).train()
    for parameter in detector.backbone.parameters():
        if not parameter.any():
            # A branch that starts at zero, such as RepViT's, passes no gradient to the layers before it.
            nn.init.normal_(parameter, std=0.1)
    data = detector.data_preprocessor(two_images(), training=True)
    loss, _ = detector.parse_losses(detector(**data, mode='loss'))
    assert loss.isfinite()
    loss.backward()
    for key, parameter in detector.backbone.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), key
            # A vector may get zeros: the bias of attention's keys, the bias before PoolFormer's difference.
            assert parameter.dim() == 1 or parameter.grad.any(), key
        else:
            assert parameter.grad is None, key


@pytest.fixture(scope='module')
def classifier() -> nn.Module:
    """timm's RepViT-M1.1, with norms away from their initial values."""
    torch.manual_seed(0)
    model = timm.create_model('repvit_m1_1')
    for value in model.state_dict().values():
        if value.dim() == 1:
            value.uniform_(0.5, 1.0)
    return model.eval()


def save(state_dict: dict, path: Path) -> str:
    (safetensors.torch.save_file if path.suffix == '.safetensors' else torch.save)(state_dict, path)
    return str(path)


def load(path: str, arch: str = 'repvit_m1_1') -> TimmFeatures:
    model = MODELS.build(dict(type='TimmFeatures', arch=arch, init_cfg=dict(type='Pretrained', checkpoint=path)))
    model.init_weights()
    return model


class TestTimmFeatures:
    @pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
    def test_loads_timms_file_and_gives_its_feature_maps(self, classifier, suffix, tmp_path):
        model = load(save(classifier.state_dict(), tmp_path / f'model.{suffix}')).eval()
        image = torch.rand(1, 3, 64, 96)
        with torch.no_grad():
            outs = model(image)
            expected = classifier.forward_intermediates(image, intermediates_only=True)
        assert isinstance(outs, tuple) and len(outs) == 4
        for i, (out, map_) in enumerate(zip(outs, expected, strict=True)):
            assert out.shape[2:] == (64 // 2 ** (i + 2), 96 // 2 ** (i + 2)) and out.isfinite().all()
            torch.testing.assert_close(out, map_, rtol=0, atol=0)

    def test_refuses_a_file_without_an_entry(self, classifier, tmp_path):
        state_dict = classifier.state_dict()
        del state_dict['stages.2.blocks.3.token_mixer.conv.c.weight']
        with pytest.raises(CheckpointError, match=r'1 missing: stages_2\.blocks\.3\.token_mixer\.conv\.c\.weight'):
            load(save(state_dict, tmp_path / 'model.safetensors'))

    @pytest.mark.parametrize(
        ('arch', 'problem'), [('repvit_m1_5', r'\d+ missing: '), ('repvit_m1_0', r'.*\d+ of another shape: ')]
    )
    def test_refuses_another_network(self, classifier, arch, problem, tmp_path):
        path = save(classifier.state_dict(), tmp_path / 'model.safetensors')
        with pytest.raises(CheckpointError, match=rf"{re.escape(path)} does not fit timm's {arch}: {problem}"):
            load(path, arch)

    def test_norm_eval_keeps_bn_in_evaluation_mode(self):
        for norm_eval in (False, True):
            model = TimmFeatures('repvit_m1_1', norm_eval=norm_eval).train()
            norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
            assert model.training and {norm.training for norm in norms} == {not norm_eval}
            assert all(parameter.requires_grad for parameter in model.parameters())

    def test_wrong_arguments_are_named(self):
        with pytest.raises(ValueError, match=r"arch must be one of timm's.*'repvit_m9'"):
            TimmFeatures('repvit_m9')
        with pytest.raises(TypeError, match=r"init_cfg must be None or dict\(type='Pretrained'"):
            TimmFeatures('repvit_m1_1', init_cfg=dict(type='Kaiming', layer='Conv2d'))

    def test_without_timm_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, 'timm', None)
        monkeypatch.delitem(sys.modules, 'mmfasternet.models.timm_features')
        with pytest.raises(UserError, match=r"needs timm.*pip install 'mmfasternet\[compare\]'"):
            row_config('repvit_m1_1')
