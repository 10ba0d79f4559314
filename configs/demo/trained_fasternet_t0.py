_base_ = './_base_trained.py'
model = dict(
    backbone=dict(type='FasterNet', arch='t0', drop_path_rate=0.0, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=[40, 80, 160, 320]),
)
