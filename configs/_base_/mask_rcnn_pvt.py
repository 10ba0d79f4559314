# Mask R-CNN with a PVT by its authors' 1x recipe: github.com/whai362/PVT,
# detection/configs/mask_rcnn_pvt_*_fpn_1x_coco.py. No norm on the outputs, as in detection/pvt.py and in mmdetection 3.
_base_ = ['./mask_rcnn_fpn.py', './coco_instance.py', './schedule_1x.py', './runtime.py']
model = dict(backbone=dict(type='PyramidVisionTransformer'), neck=dict(in_channels=[64, 128, 320, 512]))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4))
