# As rtmdet_300e.py, with masks: mmdet's rtmdet/rtmdet-ins_l_8xb32-300e_coco.py and rtmdet-ins_m_8xb32-300e_coco.py.
_base_ = './rtmdet_300e.py'

load_masks = dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False)
crop = dict(type='RandomCrop', crop_size=_base_.size, recompute_bbox=True, allow_negative_crop=True)
drop_empty = dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    load_masks,
    dict(type='CachedMosaic', img_scale=_base_.size, pad_val=114.0),
    dict(type='RandomResize', scale=(1280, 1280), ratio_range=(0.1, 2.0), keep_ratio=True),
    crop,
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    _base_.pad,
    dict(
        type='CachedMixUp',
        img_scale=_base_.size,
        ratio_range=(1.0, 1.0),
        max_cached_images=20,
        pad_val=(114, 114, 114),
    ),
    drop_empty,
    dict(type='PackDetInputs'),
]
train_pipeline_stage2 = [
    dict(type='LoadImageFromFile'),
    load_masks,
    dict(type='RandomResize', scale=_base_.size, ratio_range=(0.1, 2.0), keep_ratio=True),
    crop,
    drop_empty,
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    _base_.pad,
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
custom_hooks = [_base_.custom_hooks[0], dict(_base_.custom_hooks[1], switch_pipeline=train_pipeline_stage2)]
