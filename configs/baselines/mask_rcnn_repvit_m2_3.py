# github.com/THU-MIG/RepViT, detection/configs/mask_rcnn_repvit_m2_3_fpn_1x_coco.py. The weights are
# their repvit_m2_3_distill_450e.pth, in timm's form on the Hugging Face hub.
_base_ = '../_base_/mask_rcnn_repvit.py'
checkpoint = 'https://huggingface.co/timm/repvit_m2_3.dist_450e_in1k/resolve/main/model.safetensors'
model = dict(
    backbone=dict(arch='repvit_m2_3', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    neck=dict(in_channels=[80, 160, 320, 640]),
)
