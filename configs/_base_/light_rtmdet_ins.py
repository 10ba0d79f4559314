# RTMDet-Ins of mmdet's smallest recipe, rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py, for small images and batches on one
# device: padding and norms differ, the architecture does not. A config that inherits this sets the backbone, the neck's
# in_channels and the head's num_classes.
_base_ = './rtmdet_ins.py'

norm_cfg = dict(type='BN')
model = dict(
    data_preprocessor=dict(pad_mask=True, pad_size_divisor=32),  # images keep their sizes
    backbone=dict(norm_cfg=norm_cfg),
    neck=dict(out_channels=96, num_csp_blocks=1, norm_cfg=norm_cfg),
    bbox_head=dict(in_channels=96, feat_channels=96, norm_cfg=norm_cfg),
)
