# github.com/whai362/PVT, detection/configs/mask_rcnn_pvt_v2_b0_fpn_1x_coco.py; drop path from detection/pvt_v2.py.
_base_ = '../_base_/mask_rcnn_timm.py'
model = dict(
    backbone=dict(
        arch='pvt_v2_b0', drop_path_rate=0.1, init_cfg=dict(type='Pretrained', checkpoint='timm://pvt_v2_b0.in1k')
    ),
    neck=dict(in_channels=[32, 64, 160, 256]),
)
