# 12 epochs, ×0.1 at epochs 8 and 11, linear warm-up over 500 iterations from 0.001 (paper, Table 7).
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
# 8 GPUs × 2 images; tools/train.py --auto-scale-lr scales the learning rate to another batch size.
auto_scale_lr = dict(enable=False, base_batch_size=16)
