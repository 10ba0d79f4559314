# timm calls the networks with a norm behind every convolution bfrobust.
_base_ = '../_base_/mask_rcnn_cpubone.py'
model = dict(
    backbone=dict(
        arch='cpubone_b0_bfrobust', init_cfg=dict(type='Pretrained', checkpoint='timm://cpubone_b0_bfrobust.r224_in1k')
    ),
    neck=dict(in_channels=[32, 64, 128, 256]),
)
