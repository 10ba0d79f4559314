# github.com/whai362/PVT, detection/configs/mask_rcnn_pvt_s_fpn_1x_coco.py; drop path from detection/pvt.py.
_base_ = '../_base_/mask_rcnn_pvt.py'
checkpoint = 'https://github.com/whai362/PVT/releases/download/v2/pvt_small.pth'
model = dict(
    backbone=dict(num_layers=[3, 4, 6, 3], drop_path_rate=0.1, init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
)
