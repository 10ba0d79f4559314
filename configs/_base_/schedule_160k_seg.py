# 160k iterations of 8 GPUs × 2 images, AdamW at 6e-5 with weight decay 0.01 except on norms, linear warm-up over 1500
# iterations from a factor of 1e-6, then linear decay to 0: mmseg's
# configs/swin/swin-small-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py. It exempts the norms of Swin by
# name and decays those of the heads. Most norms of FasterNet have no name of their own, so all norms are exempt here.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=1500, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1500, end=160000, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=16000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# tools/train.py --auto-scale-lr scales the learning rate to another batch size.
auto_scale_lr = dict(enable=False, base_batch_size=16)
