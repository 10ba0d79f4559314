# github.com/bytedance/Next-ViT, detection/configs/mask_rcnn_nextvit_small_1x.py; drop path from detection/nextvit.py.
_base_ = '../_base_/mask_rcnn_nextvit.py'
model = dict(
    backbone=dict(
        arch='nextvit_small',
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='timm://nextvit_small.bd_in1k'),
    ),
)
