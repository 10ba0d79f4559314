# The generated shapes under a budget for comparing detectors: 600 iterations of 2 images.
_base_ = './_base_shapes.py'
train_dataloader = dict(batch_size=2)
max_epochs = 2
# No validation: the exported file is tested.
train_cfg = dict(max_epochs=max_epochs, val_begin=max_epochs + 1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
