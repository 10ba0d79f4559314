# 80k iterations of 4 GPUs × 4 images, AdamW at 1e-4 with weight decay 1e-4, polynomial decay of the learning rate to 0
# with power 0.9: github.com/whai362/PVT, segmentation/configs/sem_fpn/PVT/fpn_pvt_*_ade20k_40k.py, which write the
# learning rate as 0.0001·n and the iterations as 80000 / n for n times as many GPUs.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80000, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=8000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# tools/train.py --auto-scale-lr scales the learning rate to another batch size.
auto_scale_lr = dict(enable=False, base_batch_size=16)
