# Backbones under one budget, for `make compare-trained`: each from random weights, on the demo's pictures, by one schedule, with
# AP after every epoch. A config on this base names the backbone and the neck's in_channels, and nothing else.
#
# Convolutional backbones start from Kaiming's rule, as ResNet and MobileNetV2 do by default, and the others from their
# own. Nothing is frozen, no BN is kept in evaluation mode, and no path is dropped: the schedule is short for that.
_base_ = './_base_mask_rcnn_shapes.py'
# As many proposals and detections as on COCO, so that NMS and masks have in the latencies what they have there.
model = dict(test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000), rcnn=dict(max_per_img=100)))
max_epochs = 3
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
