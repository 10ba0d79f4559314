# Mask R-CNN with FasterNet by the paper's COCO recipe (Table 7), without what differs between the variants: the
# backbone, the neck's in_channels, and the learning rate of M and L. The drop path rate comes with the variant.
_base_ = ['./mask_rcnn_fpn.py', './coco_instance.py', './schedule_1x.py', './runtime.py']
model = dict(backbone=dict(type='FasterNet'))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4))
