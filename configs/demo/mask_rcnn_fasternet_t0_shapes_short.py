# The demo's Mask R-CNN under the budget of rtmdet_ins_fasternet_t0_shapes_short.py.
_base_ = ['../_base_/light_mask_rcnn.py', './_base_short_shapes.py', '../_base_/backbones/fasternet_t0.py']
model = dict(
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels),
    roi_head=dict(bbox_head=dict(num_classes=6), mask_head=dict(num_classes=6)),
)
