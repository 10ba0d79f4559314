# Mask R-CNN made light, for the generated shapes: trained from scratch on two CPU cores within minutes.
# A config on this base names the backbone and the neck's in_channels.
#
# What made the difference, on two cores: a backbone initialized by Kaiming's rule learns its first features in half the
# iterations of the truncated normal; half of few RoIs positive; flips that leave the shapes upright; a learning rate of
# 1e-3 (3e-3 learns no classes). Noise, clutter and free angles of a higher difficulty cost AP, and time most of all.
_base_ = ['../_base_/mask_rcnn_fpn.py', './_base_shapes.py']

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
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=6, reg_class_agnostic=True),
        mask_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=1)),
        mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64, num_classes=6, norm_cfg=norm_cfg),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=400, max_per_img=100),
        rcnn=dict(sampler=dict(num=32, pos_fraction=0.5)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=400, max_per_img=100), rcnn=dict(max_per_img=50)),
)
