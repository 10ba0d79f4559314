# Mask R-CNN with a RepViT by its authors' 1x recipe: github.com/THU-MIG/RepViT,
# detection/configs/mask_rcnn_repvit_*_fpn_1x_coco.py. Every BN in evaluation mode, as in detection/repvit.py.
# timm's stages end where the authors take their outputs (out_indices): a downsampling layer begins the next stage.
_base_ = './mask_rcnn_timm.py'
model = dict(backbone=dict(norm_eval=True))
optim_wrapper = dict(optimizer=dict(weight_decay=0.05))
