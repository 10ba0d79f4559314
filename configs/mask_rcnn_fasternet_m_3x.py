# Mask R-CNN with FasterNet-M on COCO, 36 epochs, images of several scales.
_base_ = ['./_base_/mask_rcnn_fasternet_3x.py', './_base_/backbones/fasternet_m.py']
model = dict(backbone=_base_.backbone, neck=dict(in_channels=_base_.channels))
optim_wrapper = dict(optimizer=dict(lr=1e-4))
