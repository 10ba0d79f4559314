# Mask R-CNN with FasterNet-S on COCO, 12 epochs.
_base_ = ['./_base_/mask_rcnn_fasternet.py', './_base_/backbones/fasternet_s.py']
model = dict(backbone=_base_.backbone, neck=dict(in_channels=_base_.channels))
