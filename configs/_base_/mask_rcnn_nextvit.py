# Mask R-CNN with a Next-ViT by its authors' 1x recipe: github.com/bytedance/Next-ViT,
# detection/configs/mask_rcnn_nextvit_*_1x.py: mixed precision, which needs a GPU; stem and first stage frozen, BN in
# evaluation mode, no decay of norms, warm-up from 1e-6.
_base_ = './mask_rcnn_timm.py'
model = dict(backbone=dict(frozen_stages=1, norm_eval=True), neck=dict(in_channels=[96, 256, 512, 1024]))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale=512.0,
    optimizer=dict(lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(custom_keys=dict(bn=dict(decay_mult=0.0), norm=dict(decay_mult=0.0))),
)
