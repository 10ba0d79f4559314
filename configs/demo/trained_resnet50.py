_base_ = './_base_trained.py'
model = dict(backbone=dict(type='ResNet', depth=50, norm_eval=False), neck=dict(in_channels=[256, 512, 1024, 2048]))
