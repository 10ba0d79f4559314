"""The detectors' configs are mmdet's recipes except for the backbone; they build, learn and predict."""

import math
from pathlib import Path

import mmdet
import pytest
import torch
from helpers.batches import two_images
from helpers.project import ROOT
from helpers.recipes import differences
from helpers.sizes import large_ones_slow
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from mmfasternet.engine.config import load_config
from mmfasternet.models.variants import VARIANTS

CONFIGS = ROOT / 'configs/detection'
ZOO = Path(mmdet.__file__).parent / '.mim/configs'
# Detector, or its config where each size has a recipe → mmdet's config with its recipe.
RECIPES = dict(
    faster_rcnn='faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    retinanet='retinanet/retinanet_r50_fpn_1x_coco.py',
    fcos='fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py',
    atss='atss/atss_r50_fpn_1x_coco.py',
    cascade_mask_rcnn='cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    dino='dino/dino-4scale_r50_8xb2-12e_coco.py',
    **{
        f'rtmdet{masks}_fasternet_{arch}': f'rtmdet/rtmdet{masks.replace("_", "-")}_{size}_8xb32-300e_coco.py'
        for masks in ('', '_ins')
        for arch, size in dict(t0='tiny', t1='s', t2='m', s='l').items()
    },
)
NAMES = sorted(path.stem for path in CONFIGS.glob('*.py'))
# Of the authors' weights.
NORMALIZATION = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
RECIPE_KEYS = (
    *('model', 'train_pipeline', 'test_pipeline', 'train_dataloader', 'val_dataloader', 'test_dataloader'),
    *('val_evaluator', 'test_evaluator', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'val_cfg', 'test_cfg'),
    *('auto_scale_lr', 'custom_hooks', 'default_hooks'),
)
# Where they differ, besides backbone, channels and image normalization.
LAST_THREE_MAPS = {'model.neck.start_level'}
OWN = dict(
    # What remains of Mask R-CNN has no effect.
    faster_rcnn={
        'model.data_preprocessor.pad_mask',
        'model.train_cfg.rcnn.mask_size',
        'model.test_cfg.rcnn.mask_thr_binary',
    },
    retinanet=LAST_THREE_MAPS,
    fcos=LAST_THREE_MAPS,
    atss=LAST_THREE_MAPS,
    cascade_mask_rcnn=set(),
    dino={'model.data_preprocessor.pad_size_divisor', 'auto_scale_lr.enable'},
    rtmdet={'auto_scale_lr.base_batch_size'},
    rtmdet_ins={'auto_scale_lr.base_batch_size'},
)
ANYWHERE = ('model.backbone', 'model.neck.in_channels', *(f'model.data_preprocessor.{key}' for key in NORMALIZATION))


def detector_of(name: str) -> str:
    return name.rpartition('_fasternet_')[0]


@pytest.mark.parametrize('name', NAMES)
def test_recipe_is_the_zoos(name):
    detector = detector_of(name)
    recipe = RECIPES.get(name) or RECIPES[detector]
    ours, theirs = load_config(CONFIGS / f'{name}.py'), load_config(ZOO / recipe)
    found = differences(ours, theirs, RECIPE_KEYS)
    assert {path for path in found if not path.startswith(ANYWHERE)} == OWN[detector]
    preprocessor = ours.to_dict()['model']['data_preprocessor']
    assert preprocessor.items() >= NORMALIZATION.items()


def build_small(name: str) -> nn.Module:
    """The detector with fewer proposals and queries, which keeps all scores, however low."""
    cfg = load_config((CONFIGS if name in NAMES else CONFIGS.parent) / f'{name}.py')
    # A dropped block gets no gradient.
    cfg.model.backbone.update(init_cfg=None, drop_path_rate=0.0)
    if 'rpn' in cfg.model.test_cfg:
        cfg.model.train_cfg.rpn_proposal.update(nms_pre=100, max_per_img=50)
        cfg.model.test_cfg.rpn.update(nms_pre=100, max_per_img=10)
        cfg.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=10)
    elif 'num_queries' in cfg.model:
        cfg.model.num_queries = 50
    else:
        cfg.model.test_cfg.update(score_thr=0.0, nms_pre=100)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    detector = MODELS.build(cfg.model)
    if hasattr(detector, 'level_embed'):
        # DINO takes it from memory as it is, whatever that holds, until a runner initializes the weights.
        nn.init.normal_(detector.level_embed)
    return detector


@pytest.mark.parametrize('name', large_ones_slow([*NAMES, *(f'mask_rcnn_fasternet_{arch}' for arch in VARIANTS)]))
def test_learns_and_predicts(name):
    detector = build_small(name).train()
    has_masks = 'mask' in name or 'rtmdet_ins' in name
    data = detector.data_preprocessor(two_images(has_masks), training=True)
    loss, _ = detector.parse_losses(detector(**data, mode='loss'))
    assert loss.isfinite()
    loss.backward()
    for key, parameter in detector.named_parameters():
        # DDP refuses a parameter that has no part in the loss.
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert not key.startswith('backbone.') or parameter.grad.any(), key

    detector.eval()
    with torch.no_grad():
        results = detector(**detector.data_preprocessor(two_images(has_masks)), mode='predict')
    assert len(results) == 2
    for found in (result.pred_instances for result in results):
        assert len(found) > 0 and found.labels.max() < 80
        x1, y1, x2, y2 = found.bboxes.unbind(1)
        assert (x1 >= 0).all() and (y1 >= 0).all() and (x2 <= 96).all() and (y2 <= 64).all()
        assert ((found.scores > 0) & (found.scores <= 1)).all()
        if has_masks:
            assert found.masks.shape == (len(found), 64, 96)


@pytest.mark.parametrize('name', NAMES)
def test_neck_takes_the_backbones_feature_maps(name):
    model = load_config(CONFIGS / f'{name}.py').model
    channels = VARIANTS[model.backbone.arch].channels
    assert model.neck.in_channels == [channels[i] for i in model.backbone.get('out_indices', range(4))]
    assert f'/fasternet_{model.backbone.arch}-epoch.' in model.backbone.init_cfg.checkpoint


def losses_of_one_batch(cfg: Config, steps: int = 8) -> list[dict[str, float]]:
    """Train a config on its first batch."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    batch = next(iter(runner.build_dataloader(cfg.train_dataloader, seed=0)))
    losses = [runner.model.train().train_step(batch, optim_wrapper) for _ in range(steps)]
    return [{name: value.item() for name, value in loss.items()} for loss in losses]


def test_retinanet_learns_the_shapes(shapes_root, tmp_path):
    cfg = load_config(
        ROOT / 'configs/demo/retinanet_fasternet_t0_shapes.py', dict(data_root=str(shapes_root)), str(tmp_path)
    )
    losses = [sum(found.values()) for found in losses_of_one_batch(cfg)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize('data', ['shapes_short', 'animals'])
def test_detectors_under_one_budget_differ_in_the_model_alone(data):
    mask_rcnn, rtmdet_ins = (
        load_config(ROOT / f'configs/demo/{detector}_fasternet_t0_{data}.py')
        for detector in ('mask_rcnn', 'rtmdet_ins')
    )
    keys = (set(mask_rcnn) | set(rtmdet_ins)) - {'model', 'work_dir', 'norm_cfg', 'size'}
    assert differences(mask_rcnn, rtmdet_ins, keys) == {'optim_wrapper.paramwise_cfg.bypass_duplicate'}
    assert mask_rcnn.train_dataloader.batch_size == 2
    assert mask_rcnn.train_cfg.max_epochs == dict(shapes_short=2, animals=8)[data]  # of 600 and of 160 images
    # The architecture is that of the recipe; norms compute the same on one device.
    recipe = load_config(CONFIGS / 'rtmdet_ins_fasternet_t0.py')
    found = {
        path for path in differences(rtmdet_ins, recipe, ['model']) if not path.startswith('model.backbone.init_cfg')
    }
    assert found == {
        *('model.data_preprocessor.pad_mask', 'model.data_preprocessor.pad_size_divisor'),
        *(f'model.{part}.norm_cfg.type' for part in ('backbone', 'neck', 'bbox_head')),
        'model.bbox_head.num_classes',
    }


@pytest.mark.parametrize('detector', ['mask_rcnn', 'rtmdet_ins'])
def test_detectors_under_one_budget_learn_the_shapes(detector, shapes_root, tmp_path):
    config = ROOT / f'configs/demo/{detector}_fasternet_t0_shapes_short.py'
    cfg = load_config(config, dict(data_root=str(shapes_root)), str(tmp_path))
    losses = losses_of_one_batch(cfg)
    assert all(math.isfinite(found['loss']) for found in losses)
    # RTMDet-Ins' class scores aim at the IoU of its boxes, and lose while these get better.
    assert losses[-1]['loss_mask'] < 0.9 * losses[0]['loss_mask']


@pytest.mark.slow
def test_rtmdet_ins_learns_the_shapes(shapes_root, tmp_path):
    """Boxes and masks, from images that its own pipeline makes, at a fifth of their size."""
    config = tmp_path / 'small.py'
    config.write_text(
        f"""_base_ = {str(CONFIGS / 'rtmdet_ins_fasternet_t0.py')!r}
model = dict(
    backbone=dict(init_cfg=dict(_delete_=True, type='Kaiming', layer='Conv2d')),
    bbox_head=dict(num_classes=6),
)
randomness = dict(seed=0)
sizes = ('img_scale', 'scale', 'crop_size', 'size')
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root={str(shapes_root)!r},
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        metainfo=dict(classes=('circle', 'triangle', 'square', 'star', 'ring', 'cross')),
        # The masks of the shapes are run lengths.
        pipeline=[
            {{
                key: tuple(side // 5 for side in value) if key in sizes else value
                for key, value in step.items()
                if key != 'poly2mask'
            }}
            for step in _base_.train_pipeline
        ],
    ),
)
"""
    )
    losses = losses_of_one_batch(load_config(config, work_dir=str(tmp_path)), steps=16)
    for name in ('loss_cls', 'loss_bbox', 'loss_mask'):
        assert losses[-1][name] < 0.8 * losses[0][name], name
