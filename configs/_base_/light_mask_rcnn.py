# A light Mask R-CNN, which trains from scratch on two CPU cores within minutes. A config that inherits this sets the
# backbone, the neck's in_channels, and num_classes of both heads.
#
# What mattered most, on the generated shapes: few RoIs, half of them positive; normalization in neck and mask head; and
# Kaiming initialization of the backbone, which needs half the iterations of a truncated normal to learn the first
# features.
_base_ = './mask_rcnn_fpn.py'

norm_cfg = dict(type='BN')  # in neck and mask head too, which learn slowly without it and without pretrained weights
model = dict(
    neck=dict(out_channels=64, num_outs=4, norm_cfg=norm_cfg),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        # One anchor per location, of 24 to 192 pixels, for objects about as wide as high.
        anchor_generator=dict(scales=[6], ratios=[1.0], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        # RoIAlign runs on one core. With mmcv's default, an adaptive number of samples, it takes a third of the time.
        bbox_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=1)),
        bbox_head=dict(in_channels=64, fc_out_channels=256, reg_class_agnostic=True),
        mask_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=1)),
        mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64, norm_cfg=norm_cfg),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=400, max_per_img=100),
        rcnn=dict(sampler=dict(num=32, pos_fraction=0.5)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=400, max_per_img=100), rcnn=dict(max_per_img=50)),
)
