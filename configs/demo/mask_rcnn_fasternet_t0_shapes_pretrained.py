# The demo's Mask R-CNN from the backbone of a classifier instead of from scratch; AP after every epoch, to compare.
_base_ = './mask_rcnn_fasternet_t0_shapes.py'
checkpoint = 'work_dirs/fasternet_t0_shape_crops/epoch_10.pth'
model = dict(backbone=dict(init_cfg=dict(_delete_=True, type='Pretrained', checkpoint=checkpoint)))
train_cfg = dict(val_interval=1)
