# Mask R-CNN with a network of timm, by PVT's 1x recipe: github.com/whai362/PVT, detection/configs.
_base_ = ['./mask_rcnn_fpn.py', './coco_instance.py', './schedule_1x.py', './runtime.py']
custom_imports = dict(imports=['mmfasternet', 'mmfasternet.engine.runner', 'mmfasternet.models.timm_features'])
model = dict(backbone=dict(type='TimmFeatures'))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4))
