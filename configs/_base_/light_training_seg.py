# Training a segmentor on your own data from random weights, on a CPU within minutes: crops of small images, small
# batches, a large learning rate. A config that inherits this sets the data, the sizes, the model and the length of the
# training; tools/own_data.py writes one.
_base_ = './runtime_seg.py'
channels_last = False  # it takes longer on a CPU

train_dataloader = dict(
    batch_size=4,
    num_workers=0,  # reading a small image takes milliseconds; a worker process would take more time from the training
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset',
        img_suffix='',  # the lists name images with their endings
        seg_map_suffix='.png',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomResize', scale=(320, 320), ratio_range=(0.75, 1.5), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(320, 320)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,  # images may have any size
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        img_suffix='',
        seg_map_suffix='.png',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(320, 320), keep_ratio=True),
            dict(type='ResizeToMultiple', size_divisor=32),
            # Loaded after the resizing: predictions are compared with maps of the original size.
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

train_cfg = dict(type='IterBasedTrainLoop', max_iters=1500, val_interval=500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=10),
)
default_hooks = dict(
    logger=dict(interval=25), checkpoint=dict(interval=500, max_keep_ckpts=1, save_best='mIoU', rule='greater')
)
randomness = dict(seed=0)
