# RetinaNet with FasterNet-S on COCO, 12 epochs. Optimizer and schedule:
# mmdet's retinanet/retinanet_r50_fpn_1x_coco.py.
_base_ = [
    '../_base_/retinanet_fpn.py',
    '../_base_/backbones/fasternet_s.py',
    '../_base_/coco_detection.py',
    '../_base_/schedule_1x.py',
    '../_base_/runtime.py',
]
model = dict(backbone=_base_.backbone, neck=dict(in_channels=_base_.channels[1:]))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4))
