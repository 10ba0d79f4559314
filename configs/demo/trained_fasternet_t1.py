_base_ = './_base_trained.py'
model = dict(
    backbone=dict(type='FasterNet', arch='t1', drop_path_rate=0.0, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
