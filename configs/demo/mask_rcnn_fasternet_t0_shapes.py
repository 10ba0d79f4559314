_base_ = './_base_mask_rcnn_shapes.py'
model = dict(
    backbone=dict(type='FasterNet', arch='t0', init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=[40, 80, 160, 320]),
)
