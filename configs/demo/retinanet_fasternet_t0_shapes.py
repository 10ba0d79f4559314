# A light RetinaNet for the generated shapes, from random weights. Its iterations take half the time of Mask R-CNN's, so
# it runs twice as many.
_base_ = ['../_base_/light_retinanet.py', './_base_shapes.py', '../_base_/backbones/fasternet_t0.py']
model = dict(
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels[1:]),
    bbox_head=dict(num_classes=6),
)
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator

max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
