# The light Mask R-CNN for the generated shapes. A config that inherits this sets the backbone and the neck's
# in_channels.
#
# What mattered most beside its settings: flips that keep the shapes upright; a learning rate of 1e-3 (at 3e-3 no class
# is learned). The noise, clutter and rotation of a higher difficulty cost AP, and above all time.
_base_ = ['../_base_/light_mask_rcnn.py', './_base_shapes.py']
model = dict(roi_head=dict(bbox_head=dict(num_classes=6), mask_head=dict(num_classes=6)))
