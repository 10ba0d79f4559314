# Semantic FPN with FasterNet on ADE20K by PVT's recipe, without what differs between the variants: the backbone and the
# neck's in_channels. The drop path rate comes with the variant. The backbone's BN is synchronized, as that of ResNet is
# in mmseg's _base_/models/fpn_r50.py.
_base_ = ['./semantic_fpn.py', './ade20k.py', './schedule_80k_seg.py', './runtime_seg.py']
model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(type='FasterNet', norm_cfg=dict(type='SyncBN')),
    decode_head=dict(num_classes=150),
)
# PVT is tested on sides that are multiples of 32 (AlignResize in its segmentation/configs/_base_/datasets/ade20k.py).
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='ResizeToMultiple', size_divisor=32),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
