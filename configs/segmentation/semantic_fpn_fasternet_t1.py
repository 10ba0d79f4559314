_base_ = '../_base_/semantic_fpn_fasternet.py'
checkpoint = (
    'https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_t1-epoch.291-val_acc1.76.2180.pth'
)
model = dict(
    backbone=dict(arch='t1', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
