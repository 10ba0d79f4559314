# Mask R-CNN made light, for the generated shapes: trained from scratch on two CPU cores within minutes.
# A config on this base names the backbone and the neck's in_channels.
#
# What made the difference, on two cores: a backbone initialized by Kaiming's rule learns its first features in half the
# iterations of the truncated normal; half of few RoIs positive; flips that leave the shapes upright; a learning rate of
# 1e-3 (3e-3 learns no classes). Noise, clutter and free angles of a higher difficulty cost AP, and time most of all.
_base_ = ['../_base_/mask_rcnn_fpn.py', '../_base_/runtime.py']

# What tools/demo.py generates: six classes, 2 to 8 objects in a picture, a quarter and more of them occluded, as many
# under 32² pixels. Upright, bright shapes on grey, textured ground; difficulty 1 turns them and gives all any colour.
shapes = dict(num_train=600, num_val=120, size=(192, 256), difficulty=0.1, seed=0)
classes = ('circle', 'triangle', 'square', 'star', 'ring', 'cross')
data_root = 'data/shapes/'

norm_cfg = dict(type='BN')  # in neck and mask head too: without pretrained weights they learn slowly otherwise
model = dict(
    neck=dict(out_channels=64, num_outs=4, norm_cfg=norm_cfg),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        # One anchor a place, of 24 to 192 pixels: the shapes are about as wide as high.
        anchor_generator=dict(scales=[6], ratios=[1.0], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        # RoIAlign runs on one core, and at mmcv's default of an adaptive number of samples takes a third of the time.
        bbox_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=1)),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=len(classes), reg_class_agnostic=True),
        mask_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=1)),
        mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64, num_classes=len(classes), norm_cfg=norm_cfg),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=400, max_per_img=100),
        rcnn=dict(sampler=dict(num=32, pos_fraction=0.5)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=400, max_per_img=100), rcnn=dict(max_per_img=50)),
)

dataset_type = 'CocoDataset'
load_data = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,  # a picture is read in 3 ms; a process of its own would take more from the training
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        pipeline=[
            *load_data,
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        test_mode=True,
        pipeline=[
            *load_data,
            dict(type='Resize', scale_factor=1.0),  # the mask head asks for its scale_factor
            dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file=data_root + 'annotations/instances_val.json', metric=['bbox', 'segm'])
test_evaluator = val_evaluator

max_epochs = 4
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
