_base_ = ['./_base_trained.py', '../_base_/backbones/fasternet_t0.py']
model = dict(
    backbone=dict(_base_.backbone, drop_path_rate=0.0, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels),
)
