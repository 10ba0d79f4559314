# RTMDet-Ins on the generated shapes, from random weights, beside mask_rcnn_fasternet_t0_shapes_short.py.
_base_ = ['../_base_/light_rtmdet_ins.py', './_base_short_shapes.py', '../_base_/backbones/fasternet_t0.py']
model = dict(
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels[1:]),
    bbox_head=dict(num_classes=6),
)
optim_wrapper = dict(paramwise_cfg=dict(bypass_duplicate=True))  # the levels share the head's convolutions
