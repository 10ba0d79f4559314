_base_ = '../_base_/fasternet_imagenet.py'
model = dict(
    backbone=dict(arch='l'),
    head=dict(in_channels=1536),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.7), dict(type='CutMix', alpha=1.0)]),
)
rand_augment = dict(_base_.rand_augment, magnitude_level=7)
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=[*_base_.load_192, rand_augment, *_base_.pack]))
late_pipeline = [*_base_.load_224, rand_augment, *_base_.pack]
custom_hooks = [dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=281, train_pipeline=late_pipeline)])]
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.05), clip_grad=dict(max_norm=0.01))
param_scheduler = [
    dict(type='LinearLR', start_factor=5e-4, begin=0, end=20),
    dict(type='CosineAnnealingLR', T_max=280, eta_min=1e-5, begin=20, end=300),
]
auto_scale_lr = dict(base_batch_size=2048)
