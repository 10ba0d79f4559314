"""Small models of every head that can be exported completely, whose random weights decide on something."""

from pathlib import Path

import torch
from torch import nn

from mmfasternet.benchmark.measure.paths import randomize_norms
from mmfasternet.engine.build import build_model

from .project import ROOT

__all__ = ['MODELS', 'build_small', 'write_dino', 'write_small']

CHANNELS = [40, 80, 160, 320]
BACKBONE = "backbone=dict(_delete_=True, type='FasterNet', arch=dict(embed_dims=40, depths=(1, 1, 1, 1)){})"
LEVELS = BACKBONE.format(', out_indices=(1, 2, 3)')
DENSE = (
    f'{LEVELS}, neck=dict(in_channels={CHANNELS[1:]}, out_channels=32), '
    'bbox_head=dict(num_classes=5, in_channels=32, feat_channels=32, stacked_convs=1{}), test_cfg=dict(nms_pre=100)'
)
SEGMENTOR = "dict(channels=32, num_classes=5, norm_cfg=dict(type='BN'), {})"
# A group of one channel has no variance on the last level, which has a single place.
GN = ", norm_cfg=dict(type='GN', num_groups=8)"
ROI = (
    f'{BACKBONE.format("")}, neck=dict(in_channels={CHANNELS}, out_channels=32), '
    'rpn_head=dict(in_channels=32, feat_channels=32), test_cfg=dict(rpn=dict(nms_pre=100, max_per_img=50))'
)
BOX = 'in_channels=32, fc_out_channels=64, num_classes=5'
MASK = 'mask_head=dict(num_convs=1, in_channels=32, conv_out_channels=32, num_classes=5)'
EXTRACTOR = '{}_roi_extractor=dict(out_channels=32)'
# Head → config, and the settings of a small model.
MODELS = {
    'RetinaHead': ('detection/retinanet_fasternet_s.py', DENSE.format('')),
    'FCOSHead': ('detection/fcos_fasternet_s.py', DENSE.format(GN)),
    'ATSSHead': ('detection/atss_fasternet_s.py', DENSE.format(GN)),
    'RTMDetSepBNHead': ('detection/rtmdet_fasternet_s.py', DENSE.format('')),
    'RTMDetInsSepBNHead': (
        'detection/rtmdet_ins_fasternet_s.py',
        DENSE.format('').replace('nms_pre=100', 'nms_pre=100, max_per_img=200'),
    ),
    # Whose norms are the same for all levels, and which weighs scores by an objectness.
    'RTMDetInsHead': (
        'detection/rtmdet_ins_fasternet_s.py',
        DENSE.format(
            ", _delete_=True, type='RTMDetInsHead', anchor_generator=dict(type='MlvlPointGenerator', offset=0, "
            "strides=[8, 16, 32]), bbox_coder=dict(type='DistancePointBBoxCoder'), "
            "loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True), loss_bbox=dict(type='GIoULoss'), "
            "norm_cfg=dict(type='BN')"
        ),
    ),
    'StandardRoIHead': (
        'detection/faster_rcnn_fasternet_s.py',
        f'{ROI}, roi_head=dict({EXTRACTOR.format("bbox")}, bbox_head=dict({BOX}))',
    ),
    # The same with masks, which takes half as long to export as the next one.
    'Mask R-CNN': (
        'mask_rcnn_fasternet_t0.py',
        f'{ROI}, roi_head=dict({EXTRACTOR.format("bbox")}, {EXTRACTOR.format("mask")}, {MASK}, bbox_head=dict({BOX}))',
    ),
    'CascadeRoIHead': (
        'detection/cascade_mask_rcnn_fasternet_m.py',
        f'{ROI}, roi_head=dict({EXTRACTOR.format("bbox")}, {EXTRACTOR.format("mask")}, {MASK}, bbox_head=['
        + ', '.join(
            f"dict(type='Shared2FCBBoxHead', roi_feat_size=7, {BOX}, reg_class_agnostic={agnostic}, "
            "loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False), "
            f"bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[{std}] * 4))"
            for agnostic, std in ((False, 0.1), (True, 0.05), (True, 0.03))
        )
        + '])',
    ),
    'FPNHead': (
        'segmentation/semantic_fpn_fasternet_s.py',
        f'{BACKBONE.format("")}, neck=dict(in_channels={CHANNELS}, out_channels=32), '
        f'decode_head={SEGMENTOR.format("in_channels=[32] * 4")}',
    ),
    'UPerHead': (
        'segmentation/upernet_fasternet_s.py',
        f'{BACKBONE.format("")}, decode_head={SEGMENTOR.format(f"in_channels={CHANNELS}")}, auxiliary_head=None',
    ),
    'FasterNetClsHead': (
        'classification/fasternet_s_imagenet.py',
        f'{BACKBONE.format(", out_indices=(3,), out_norm=False")}, '
        'head=dict(in_channels=320, hidden_channels=64, num_classes=7)',
    ),
}


def write_small(head: str, path: Path, more: str = '') -> Path:
    """The config of a small model with a head; more of its settings as keywords."""
    base, settings = MODELS[head]
    path.write_text(f'_base_ = {str(ROOT / "configs" / base)!r}\nmodel = dict({settings}, {more})\n')
    return path


def write_dino(path: Path) -> Path:
    """The config of a small DINO, whose file has a fixed size."""
    few = 'num_queries=40, encoder=dict(num_layers=1), decoder=dict(num_layers=2), test_cfg=dict(max_per_img=20)'
    path.write_text(
        f'_base_ = {str(ROOT / "configs/detection/dino_fasternet_l.py")!r}\n'
        f'model = dict({LEVELS}, neck=dict(in_channels={CHANNELS[1:]}), {few})\n'
    )
    return path


def build_small(config: Path, seed: int = 0) -> nn.Module:
    """The model with weights that find objects of several classes in any image."""
    torch.manual_seed(seed)
    model = build_model(config)[1].requires_grad_(False)
    randomize_norms(model)
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and 'backbone' not in name:
            # mmdet's own weights give the same in all places.
            nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
            if name.endswith('_reg'):
                # Boxes that are neither the complete image nor empty, of which NMS keeps equal ones.
                layer.weight.mul_(0.1)
            if 'rtm_kernel' in name:
                # Masks that differ from place to place, and are not decided by an object's 17 biases.
                layer.weight[-17:].mul_(0.1)
                layer.bias[-17:].mul_(0.1)
    return model
