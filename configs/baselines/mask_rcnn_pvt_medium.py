# github.com/whai362/PVT, detection/configs/mask_rcnn_pvt_m_fpn_1x_coco.py; drop path from detection/pvt.py.
_base_ = '../_base_/mask_rcnn_pvt.py'
checkpoint = 'https://github.com/whai362/PVT/releases/download/v2/pvt_medium.pth'
model = dict(
    backbone=dict(num_layers=[3, 4, 18, 3], drop_path_rate=0.0, init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
)
