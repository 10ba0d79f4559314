# Mask R-CNN with a PoolFormer by its authors' 1x recipe: github.com/sail-sg/poolformer,
# detection/configs/mask_rcnn_poolformer_*_fpn_1x_coco.py. No drop path, and a new norm on each output.
_base_ = ['./mask_rcnn_fpn.py', './coco_instance.py', './schedule_1x.py', './runtime.py']
custom_imports = dict(imports=['mmfasternet', 'mmfasternet.engine.runner', 'mmpretrain.models'])
# frozen_stages=-1: mmpretrain's default of 0 freezes the patch embedding, and the authors freeze nothing.
model = dict(
    backbone=dict(type='mmpretrain.PoolFormer', out_indices=[0, 2, 4, 6], drop_path_rate=0.0, frozen_stages=-1),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4))
