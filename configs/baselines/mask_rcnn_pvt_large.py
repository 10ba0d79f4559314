# github.com/whai362/PVT, detection/configs/mask_rcnn_pvt_l_fpn_1x_coco.py; drop path from detection/pvt.py.
_base_ = '../_base_/mask_rcnn_pvt.py'
checkpoint = 'https://github.com/whai362/PVT/releases/download/v2/pvt_large.pth'
model = dict(
    backbone=dict(num_layers=[3, 8, 27, 3], drop_path_rate=0.0, init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
)
# 8 GPUs × 1 image.
train_dataloader = dict(batch_size=1)
optim_wrapper = dict(optimizer=dict(lr=2e-4 / 1.4))
auto_scale_lr = dict(base_batch_size=8)
