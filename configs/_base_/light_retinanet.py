# A light RetinaNet, which trains from scratch on two CPU cores within minutes: its iterations take half the time of the
# light Mask R-CNN's. A config that inherits this sets the backbone, the neck's in_channels and the head's num_classes.
_base_ = './retinanet_fpn.py'
model = dict(
    neck=dict(out_channels=64, num_outs=3, norm_cfg=dict(type='BN')),
    bbox_head=dict(
        in_channels=64,
        stacked_convs=2,
        feat_channels=64,
        # GN, since the levels share the head: a BN would mix their statistics in testing but not in training.
        norm_cfg=dict(type='GN', num_groups=8),
        # Squares of 24 to 152 pixels, for objects about as wide as high.
        anchor_generator=dict(octave_base_scale=3, ratios=[1.0], strides=[8, 16, 32]),
    ),
    test_cfg=dict(nms_pre=400, max_per_img=50),
)
