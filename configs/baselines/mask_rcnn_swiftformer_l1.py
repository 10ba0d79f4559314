# The weights are the authors' distilled ones.
_base_ = '../_base_/mask_rcnn_swiftformer.py'
model = dict(
    backbone=dict(
        arch='swiftformer_l1', init_cfg=dict(type='Pretrained', checkpoint='timm://swiftformer_l1.dist_in1k')
    ),
    neck=dict(in_channels=[48, 96, 192, 384]),
)
