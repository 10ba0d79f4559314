# github.com/bytedance/Next-ViT, detection/configs/mask_rcnn_nextvit_base_1x.py; drop path from detection/nextvit.py.
_base_ = '../_base_/mask_rcnn_nextvit.py'
model = dict(
    backbone=dict(
        arch='nextvit_base',
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='timm://nextvit_base.bd_in1k'),
    ),
)
