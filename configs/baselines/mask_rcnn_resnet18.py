# By the recipe of mmdetection 3, configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py; that of the published AP is not known.
_base_ = '../_base_/mask_rcnn_resnet.py'
model = dict(
    backbone=dict(depth=18, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
