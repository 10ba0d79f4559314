_base_ = './_base_trained.py'
model = dict(
    backbone=dict(type='FasterNet', arch='t2', drop_path_rate=0.0, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
