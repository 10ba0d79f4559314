_base_ = '../_base_/mask_rcnn_fastvit.py'
model = dict(
    backbone=dict(arch='fastvit_sa36', init_cfg=dict(type='Pretrained', checkpoint='timm://fastvit_sa36.apple_in1k')),
)
