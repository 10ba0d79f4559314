# The published AP has no config. This is the 1x recipe of Swin-T in mmdetection 3, with the network of
# configs/convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py and less drop path for the shorter training.
_base_ = [
    '../_base_/mask_rcnn_fpn.py',
    '../_base_/coco_instance.py',
    '../_base_/schedule_1x.py',
    '../_base_/runtime.py',
]
custom_imports = dict(imports=['mmfasternet', 'mmfasternet.engine.runner', 'mmpretrain.models'])
checkpoint = 'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth'  # noqa: E501
model = dict(
    backbone=dict(
        type='mmpretrain.ConvNeXt',
        arch='tiny',
        out_indices=[0, 1, 2, 3],
        drop_path_rate=0.1,
        layer_scale_init_value=1.0,
        gap_before_final_norm=False,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05))
