# The recipe with half the batch size, by which the paper trains M and L (Table 6).
_base_ = './fasternet_imagenet.py'
train_dataloader = dict(batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=5e-4, begin=0, end=20),
    dict(type='CosineAnnealingLR', T_max=280, eta_min=1e-5, begin=20, end=300),
]
auto_scale_lr = dict(base_batch_size=2048)
