# RTMDet-Ins with FasterNet-T1 on COCO, 300 epochs: mmdet's rtmdet/rtmdet-ins_s_8xb32-300e_coco.py, whose CSPNeXt-S has
# as many channels as FasterNet-T1.
_base_ = [
    '../_base_/rtmdet_ins.py',
    '../_base_/backbones/fasternet_t1.py',
    '../_base_/rtmdet_ins_300e_small.py',
]
model = dict(
    backbone=_base_.backbone,
    neck=dict(in_channels=_base_.channels[1:], out_channels=128, num_csp_blocks=1),
    bbox_head=dict(in_channels=128, feat_channels=128),
)
