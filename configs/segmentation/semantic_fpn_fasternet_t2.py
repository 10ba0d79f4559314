_base_ = '../_base_/semantic_fpn_fasternet.py'
checkpoint = (
    'https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_t2-epoch.289-val_acc1.78.8860.pth'
)
model = dict(
    backbone=dict(arch='t2', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
