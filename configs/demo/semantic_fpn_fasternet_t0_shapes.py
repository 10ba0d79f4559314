# A light Semantic FPN for the generated shapes, which trains from scratch on two CPU cores within minutes: `make
# demo-seg`.
#
# The number of iterations matters most: 450 with 8 images reach an mIoU of 0.65, 1150 with 4 images 0.81. Hence the
# small batch, and 64 channels in neck and head (48 reach 0.80).
_base_ = ['../_base_/semantic_fpn.py', '../_base_/runtime_seg.py', '../_base_/backbones/fasternet_t0.py']

# tools/demo.py generates the same images as for the detector.
shapes = dict(num_train=600, num_val=120, size=(192, 256), difficulty=0.1, seed=0)
classes = ('background', 'circle', 'triangle', 'square', 'star', 'ring', 'cross')
data_root = 'data/shapes/'
channels_last = False  # as its figures in docs/segmentation.md were measured

norm_cfg = dict(type='BN')
model = dict(
    data_preprocessor=dict(size=shapes['size']),
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels, out_channels=64, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=[64, 64, 64, 64],
        channels=64,
        num_classes=len(classes),
        norm_cfg=norm_cfg,
        # Most of an image is background, which Dice ignores: 1100 iterations reach what 1200 reach without it.
        loss_decode=[
            dict(type='CrossEntropyLoss', loss_weight=1.0),
            dict(type='DiceLoss', loss_weight=1.0, ignore_index=0),
        ],
    ),
)

dataset_type = 'BaseSegDataset'
train_dataloader = dict(
    batch_size=4,
    num_workers=0,  # reading an image takes 3 ms; a worker process would take more time from the training
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=dict(classes=classes),
        img_suffix='.png',
        data_prefix=dict(img_path='train', seg_map_path='semantic/train'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=dict(classes=classes),
        img_suffix='.png',
        data_prefix=dict(img_path='val', seg_map_path='semantic/val'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

max_iters = 1150
# No validation, not even after the last iteration: the demo tests the checkpoint right after the training.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_begin=max_iters + 1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=max_iters, by_epoch=False),
]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=100, max_keep_ckpts=1))
randomness = dict(seed=0)
