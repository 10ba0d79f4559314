# trained_fasternet_t0.py from a classifier's backbone instead of random weights.
_base_ = './trained_fasternet_t0.py'
checkpoint = 'work_dirs/fasternet_t0_shape_crops/epoch_10.pth'
model = dict(backbone=dict(init_cfg=dict(_delete_=True, type='Pretrained', checkpoint=checkpoint)))
