# A light Semantic FPN, which trains from scratch on two CPU cores within minutes. A config that inherits this sets the
# backbone, the neck's in_channels, num_classes and the size to which the preprocessor pads.
#
# What mattered most, on the generated shapes: the number of iterations, 450 with 8 images reach an mIoU of 0.65, 1150
# with 4 images 0.81. Hence the small batch, and 64 channels in neck and head (48 reach 0.80).
_base_ = './semantic_fpn.py'

norm_cfg = dict(type='BN')
model = dict(
    neck=dict(out_channels=64, norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=[64, 64, 64, 64],
        channels=64,
        norm_cfg=norm_cfg,
        # Most of an image is background, which Dice ignores: 1100 iterations reach what 1200 reach without it.
        loss_decode=[
            dict(type='CrossEntropyLoss', loss_weight=1.0),
            dict(type='DiceLoss', loss_weight=1.0, ignore_index=0),
        ],
    ),
)
