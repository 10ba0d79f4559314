# RTMDet with FasterNet-T0 on COCO, 300 epochs: mmdet's rtmdet/rtmdet_tiny_8xb32-300e_coco.py, since the channels of
# CSPNeXt-tiny are the nearest to FasterNet-T0's.
_base_ = [
    '../_base_/rtmdet.py',
    '../_base_/backbones/fasternet_t0.py',
    '../_base_/rtmdet_300e_small.py',
    '../_base_/rtmdet_small_caches.py',
]
model = dict(
    backbone=_base_.backbone,
    neck=dict(in_channels=_base_.channels[1:], out_channels=96, num_csp_blocks=1),
    bbox_head=dict(in_channels=96, feat_channels=96, exp_on_reg=False),
)
train_pipeline = [_base_.small_caches.get(step.type, step) for step in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
