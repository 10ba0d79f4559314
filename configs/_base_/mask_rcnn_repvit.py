# Mask R-CNN with a RepViT by its authors' 1x recipe: github.com/THU-MIG/RepViT,
# detection/configs/mask_rcnn_repvit_*_fpn_1x_coco.py. Every BN in evaluation mode, as in detection/repvit.py.
# timm's stages end where the authors take their outputs (out_indices): a downsampling layer begins the next stage.
_base_ = ['./mask_rcnn_fpn.py', './coco_instance.py', './schedule_1x.py', './runtime.py']
custom_imports = dict(imports=['mmfasternet', 'mmfasternet.engine.runner', 'mmfasternet.models.timm_features'])
model = dict(backbone=dict(type='TimmFeatures', norm_eval=True))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.05))
