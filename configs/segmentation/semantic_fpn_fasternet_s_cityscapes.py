# Data, crops and batch (4 GPUs × 2 pictures) by mmseg's configs/sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py, which
# keeps the learning rate of its ADE20K configs; so does this one, with PVT's optimizer and schedule.
_base_ = [
    '../_base_/semantic_fpn.py',
    '../_base_/cityscapes.py',
    '../_base_/schedule_80k_seg.py',
    '../_base_/runtime_seg.py',
]
checkpoint = 'https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_s-epoch.299-val_acc1.81.2840.pth'
model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    backbone=dict(
        type='FasterNet',
        arch='s',
        norm_cfg=dict(type='SyncBN'),
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
    decode_head=dict(num_classes=19),
)
auto_scale_lr = dict(base_batch_size=8)
