_base_ = './_base_trained.py'
custom_imports = dict(imports=['mmfasternet', 'mmfasternet.engine.runner', 'mmseg.models'])
# mmsegmentation's, since mmdetection's has a last convolution that contributes to no feature map.
model = dict(
    backbone=dict(type='mmseg.MobileNetV2', out_indices=(1, 2, 4, 6)), neck=dict(in_channels=[24, 32, 96, 320])
)
