# mmdetection 3, configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py.
_base_ = '../_base_/mask_rcnn_resnet.py'
model = dict(backbone=dict(depth=50, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')))
