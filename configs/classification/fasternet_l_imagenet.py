# FasterNet-L on ImageNet-1k from random weights, 300 epochs.
_base_ = ['../_base_/fasternet_imagenet_2048.py', '../_base_/backbones/fasternet_l.py']
model = dict(
    backbone=dict(arch='l'),
    head=dict(in_channels=_base_.channels[-1]),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.7), dict(type='CutMix', alpha=1.0)]),
)
rand_augment = dict(_base_.rand_augment, magnitude_level=7)
train_dataloader = dict(dataset=dict(pipeline=[*_base_.load_192, rand_augment, *_base_.pack]))
late_pipeline = [*_base_.load_224, rand_augment, *_base_.pack]
custom_hooks = [dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=281, train_pipeline=late_pipeline)])]
optim_wrapper = dict(optimizer=dict(weight_decay=0.05), clip_grad=dict(max_norm=0.01))
