# FasterNet-T0 on ImageNet-1k from random weights, 300 epochs.
_base_ = ['../_base_/fasternet_imagenet.py', '../_base_/backbones/fasternet_t0.py']
model = dict(
    backbone=dict(arch='t0'),
    head=dict(in_channels=_base_.channels[-1], act_cfg=dict(type='GELU')),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.05), dict(type='CutMix', alpha=1.0)]),
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.005))
