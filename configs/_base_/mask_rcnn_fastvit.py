# Mask R-CNN with a FastViT. Its authors published no config: this is PVT's 1x recipe.
_base_ = './mask_rcnn_timm.py'
model = dict(neck=dict(in_channels=[64, 128, 256, 512]))
