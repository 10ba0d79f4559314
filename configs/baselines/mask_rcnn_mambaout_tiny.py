# MambaOut, CVPR 2025, section 4.3: AdamW with a learning rate of 1e-4, and mixed precision, which needs a GPU. It names
# neither weight decay nor drop path; here they are 0.05 and none.
_base_ = '../_base_/mask_rcnn_timm.py'
model = dict(
    backbone=dict(arch='mambaout_tiny', init_cfg=dict(type='Pretrained', checkpoint='timm://mambaout_tiny.in1k')),
    neck=dict(in_channels=[96, 192, 384, 576]),
)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(lr=1e-4, weight_decay=0.05))
