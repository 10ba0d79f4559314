# Optimizer and schedule of mmdet's faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py.
_base_ = [
    '../_base_/faster_rcnn_fpn.py',
    '../_base_/coco_detection.py',
    '../_base_/schedule_1x.py',
    '../_base_/runtime.py',
]
checkpoint = 'https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_s-epoch.299-val_acc1.81.2840.pth'
model = dict(
    backbone=dict(type='FasterNet', arch='s', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
