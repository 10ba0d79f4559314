_base_ = './_base_mask_rcnn_shapes.py'
model = dict(backbone=dict(type='FasterNet', arch='t0'), neck=dict(in_channels=[40, 80, 160, 320]))
work_dir = 'work_dirs/mask_rcnn_fasternet_t0_shapes'
