_base_ = './_base_trained.py'
model = dict(backbone=dict(type='ResNet', depth=18, norm_eval=False), neck=dict(in_channels=[64, 128, 256, 512]))
