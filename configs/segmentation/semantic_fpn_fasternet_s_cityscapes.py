# Semantic FPN with FasterNet-S on Cityscapes, 80k iterations. Data, crops and batch size (4 GPUs × 2 images) are those
# of mmseg's configs/sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py, which keeps the learning rate of mmseg's ADE20K
# configs. This one likewise keeps that of semantic_fpn_fasternet_s.py, with PVT's optimizer and schedule.
_base_ = [
    '../_base_/semantic_fpn.py',
    '../_base_/backbones/fasternet_s.py',
    '../_base_/cityscapes.py',
    '../_base_/schedule_80k_seg.py',
    '../_base_/runtime_seg.py',
]
model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    backbone=dict(_base_.backbone, norm_cfg=dict(type='SyncBN')),
    neck=dict(in_channels=_base_.channels),
    decode_head=dict(num_classes=19),
)
auto_scale_lr = dict(base_batch_size=8)
