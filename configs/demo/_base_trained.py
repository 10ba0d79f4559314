# For `make compare-trained`: backbones under one budget, each trained from random weights on the demo's images by one
# schedule, with AP after every epoch. A config that inherits this sets the backbone and the neck's in_channels only.
#
# Convolutional backbones start from Kaiming initialization, the default of ResNet and MobileNetV2, the others from
# their own. Nothing is frozen, no BN stays in evaluation mode, and there is no drop path, for which the schedule is too
# short.
_base_ = './_base_mask_rcnn_shapes.py'
# As many proposals and detections as on COCO, so that NMS and masks have the same share in the latencies.
model = dict(test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000), rcnn=dict(max_per_img=100)))
max_epochs = 3
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
