# Optimizer and schedule of mmdet's cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py.
_base_ = [
    '../_base_/cascade_mask_rcnn_fpn.py',
    '../_base_/coco_instance.py',
    '../_base_/schedule_1x.py',
    '../_base_/runtime.py',
]
checkpoint = 'https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_m-epoch.291-val_acc1.82.9620.pth'
model = dict(
    backbone=dict(type='FasterNet', arch='m', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    neck=dict(in_channels=[144, 288, 576, 1152]),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
