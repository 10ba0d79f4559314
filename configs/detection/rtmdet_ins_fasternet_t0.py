# RTMDet-Ins with FasterNet-T0 on COCO, 300 epochs: mmdet's rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py, since the
# channels of CSPNeXt-tiny are the nearest to FasterNet-T0's.
_base_ = [
    '../_base_/rtmdet_ins.py',
    '../_base_/backbones/fasternet_t0.py',
    '../_base_/rtmdet_ins_300e_small.py',
    '../_base_/rtmdet_small_caches.py',
]
model = dict(
    backbone=_base_.backbone,
    neck=dict(in_channels=_base_.channels[1:], out_channels=96, num_csp_blocks=1),
    bbox_head=dict(in_channels=96, feat_channels=96),
)
# Boxes are those that a crop cuts, not those of the masks that it cuts.
steps = dict(_base_.small_caches, RandomCrop=dict(type='RandomCrop', crop_size=_base_.size))
train_pipeline = [steps.get(step.type, step) for step in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
