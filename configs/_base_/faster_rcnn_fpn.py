# Faster R-CNN with an FPN: mmdet's _base_/models/faster-rcnn_r50_fpn.py without its backbone. It is Mask R-CNN without
# masks, and its box head matches no proposal to an object below an IoU of 0.5.
_base_ = './mask_rcnn_fpn.py'
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False))),
)
