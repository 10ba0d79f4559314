# Mask R-CNN with a ResNet or ResNeXt by the 1x recipe of mmdetection 3, configs/_base_/models/mask-rcnn_r50_fpn.py and
# configs/_base_/schedules/schedule_1x.py: SGD, stem and first stage frozen, BN in evaluation mode.
_base_ = ['./mask_rcnn_fpn.py', './coco_instance.py', './schedule_1x.py', './runtime.py']
model = dict(
    backbone=dict(
        type='ResNet',
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
    ),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
