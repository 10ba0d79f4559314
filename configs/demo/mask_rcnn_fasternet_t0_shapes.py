# Mask R-CNN with FasterNet-T0 on the generated shapes, from random weights: `make demo`.
_base_ = ['./_base_mask_rcnn_shapes.py', '../_base_/backbones/fasternet_t0.py']
model = dict(
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels),
)
# No validation, not even after the last epoch: the demo tests the checkpoint right after the training.
train_cfg = dict(val_begin=5)
