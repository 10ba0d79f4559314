# 36 epochs, ×0.1 at epochs 27 and 33, shorter side drawn from 640 to 800: mmdet's common/ms-poly_3x_coco-instance.py,
# which repeats the data three times in each of 12 epochs instead, and reads polygons alone (poly2mask=False): objects
# whose masks are run lengths would be left out without a word.
_base_ = './mask_rcnn_fasternet.py'
train_cfg = dict(max_epochs=36)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.1),
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomResize', scale=[(1333, 640), (1333, 800)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
