# RTMDet with FasterNet-S on COCO, 300 epochs: mmdet's rtmdet/rtmdet_l_8xb32-300e_coco.py, whose CSPNeXt-L has as many
# channels as FasterNet-S.
_base_ = [
    '../_base_/rtmdet.py',
    '../_base_/backbones/fasternet_s.py',
    '../_base_/rtmdet_300e.py',
]
model = dict(backbone=_base_.backbone, neck=dict(in_channels=_base_.channels[1:]))
