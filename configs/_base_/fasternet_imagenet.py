# FasterNet on ImageNet-1k by the paper's recipe (Table 6), without what differs between the variants: arch, in_channels
# and activation of the head, weight decay, mixup, RandAugment; for M and L also batch size, learning rate and clipping.
# What the table leaves open follows the authors' code, github.com/JierunChen/FasterNet, cfg/fasternet_*.yaml and
# models/model_api.py: a learning rate of 1e-6 in the first epoch and 1e-5 in the last, mixup or cutmix at random on
# every batch, weight decay on norms and biases too, no random erasing, no averaging of weights. They trained in mixed
# precision (tools/train.py --amp).
_base_ = ['./imagenet.py', './runtime_cls.py']
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes=1000,
        to_onehot=True,  # for mixup and cutmix
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(type='FasterNet', out_indices=(3,), out_norm=False),
    head=dict(
        type='FasterNetClsHead',
        num_classes=1000,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=4e-3))
# Stepped by epoch, as in the authors' code.
param_scheduler = [
    dict(type='LinearLR', start_factor=2.5e-4, begin=0, end=20),
    dict(type='CosineAnnealingLR', T_max=280, eta_min=1e-5, begin=20, end=300),
]
# tools/train.py --auto-scale-lr scales the learning rate (0.001 per 1024 images) to another batch size.
auto_scale_lr = dict(enable=False, base_batch_size=4096)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='accuracy/top1'))
