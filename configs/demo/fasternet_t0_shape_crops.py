# A classifier of the crops that tools/data/make_crops.py cuts from the generated shapes: a small stand-in for ImageNet.
# mask_rcnn_fasternet_t0_shapes_pretrained.py starts from its backbone.
_base_ = ['../_base_/runtime_cls.py', '../_base_/backbones/fasternet_t0.py']
data_root = 'data/shape_crops/'
channels_last = False  # it takes longer on a CPU

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
    ),
    backbone=dict(
        _base_.backbone,
        out_indices=(3,),
        out_norm=False,
        init_cfg=dict(type='Kaiming', layer='Conv2d'),  # like the detector trained from scratch
    ),
    head=dict(type='FasterNetClsHead', num_classes=6, in_channels=_base_.channels[-1], act_cfg=dict(type='GELU')),
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,  # reading a crop takes no time; a worker process would take more time from the training
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        data_prefix='train',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.5, 1.0)),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        data_prefix='val',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(64, 64)),
            dict(type='PackInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=1)
test_evaluator = val_evaluator

max_epochs = 10
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
