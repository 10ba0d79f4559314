# Faster R-CNN with an FPN, as mmdet's _base_/models/faster-rcnn_r50_fpn.py has it, but for the backbone: Mask R-CNN
# without masks, whose box head takes no proposal below an IoU of 0.5 for an object.
_base_ = './mask_rcnn_fpn.py'
model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False))),
)
