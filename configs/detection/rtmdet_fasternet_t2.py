# RTMDet with FasterNet-T2 on COCO, 300 epochs: mmdet's rtmdet/rtmdet_m_8xb32-300e_coco.py, whose CSPNeXt-M has as many
# channels as FasterNet-T2.
_base_ = [
    '../_base_/rtmdet.py',
    '../_base_/backbones/fasternet_t2.py',
    '../_base_/rtmdet_300e.py',
]
model = dict(
    backbone=_base_.backbone,
    neck=dict(in_channels=_base_.channels[1:], out_channels=192, num_csp_blocks=2),
    bbox_head=dict(in_channels=192, feat_channels=192),
)
