# github.com/THU-MIG/RepViT, detection/configs/mask_rcnn_repvit_m1_5_fpn_1x_coco.py. The weights are
# their repvit_m1_5_distill_300e.pth, in timm's form on the Hugging Face hub.
_base_ = '../_base_/mask_rcnn_repvit.py'
checkpoint = 'https://huggingface.co/timm/repvit_m1_5.dist_300e_in1k/resolve/main/model.safetensors'
model = dict(
    backbone=dict(arch='repvit_m1_5', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
