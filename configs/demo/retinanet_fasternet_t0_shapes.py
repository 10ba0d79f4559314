# A light RetinaNet for the generated shapes, which trains from scratch on two CPU cores within minutes. Its iterations
# take half the time of Mask R-CNN's, so it runs twice as many.
_base_ = ['../_base_/retinanet_fpn.py', './_base_shapes.py', '../_base_/backbones/fasternet_t0.py']
model = dict(
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels[1:], out_channels=64, num_outs=3, norm_cfg=dict(type='BN')),
    bbox_head=dict(
        num_classes=6,
        in_channels=64,
        stacked_convs=2,
        feat_channels=64,
        # GN, since the levels share the head: a BN would mix their statistics in testing but not in training.
        norm_cfg=dict(type='GN', num_groups=8),
        # Squares of 24 to 152 pixels: the shapes are about as wide as high.
        anchor_generator=dict(octave_base_scale=3, ratios=[1.0], strides=[8, 16, 32]),
    ),
    test_cfg=dict(nms_pre=400, max_per_img=50),
)
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator

max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
