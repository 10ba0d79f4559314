# A light Semantic FPN for the generated shapes, which trains from scratch on two CPU cores within minutes: `make
# demo-seg`.
_base_ = ['../_base_/light_semantic_fpn.py', '../_base_/runtime_seg.py', '../_base_/backbones/fasternet_t0.py']

# tools/demo.py generates the same images as for the detector.
shapes = dict(num_train=600, num_val=120, size=(192, 256), difficulty=0.1, seed=0)
classes = ('background', 'circle', 'triangle', 'square', 'star', 'ring', 'cross')
data_root = 'data/shapes/'
channels_last = False  # as its figures in docs/segmentation.md were measured

model = dict(
    data_preprocessor=dict(size=shapes['size']),
    backbone=dict(_base_.backbone, init_cfg=dict(type='Kaiming', layer='Conv2d')),
    neck=dict(in_channels=_base_.channels),
    decode_head=dict(num_classes=len(classes)),
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
