_base_ = './_base_trained.py'
model = dict(
    backbone=dict(type='PyramidVisionTransformer', num_layers=[2, 2, 2, 2], drop_path_rate=0.0),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
