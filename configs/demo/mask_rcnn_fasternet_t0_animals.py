# The light Mask R-CNN on the photographs of animals, from random weights, with the anchors that tools/own_data.py
# chooses for them.
_base_ = ['../_base_/light_mask_rcnn.py', './_base_animals.py', '../_base_/backbones/fasternet_t0.py']
model = dict(
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels),
    rpn_head=dict(anchor_generator=dict(scales=[5], ratios=[0.5, 1.0, 2.0])),
    roi_head=dict(bbox_head=dict(num_classes=7), mask_head=dict(num_classes=7)),
)
