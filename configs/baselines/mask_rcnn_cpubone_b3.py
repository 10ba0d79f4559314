_base_ = '../_base_/mask_rcnn_cpubone.py'
model = dict(
    backbone=dict(arch='cpubone_b3', init_cfg=dict(type='Pretrained', checkpoint='timm://cpubone_b3.r224_in1k')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
