# github.com/sail-sg/poolformer, detection/configs/mask_rcnn_poolformer_s12_fpn_1x_coco.py.
_base_ = '../_base_/mask_rcnn_poolformer.py'
# Its keys are those of mmpretrain's PoolFormer, except the classifier's.
checkpoint = 'https://github.com/sail-sg/poolformer/releases/download/v1.0/poolformer_s12.pth.tar'
model = dict(backbone=dict(arch='s12', init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
