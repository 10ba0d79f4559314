# Mask R-CNN with a SwiftFormer by its authors' 1x recipe (SwiftFormer, ICCV 2023, section 4.1): AdamW with a learning
# rate of 2e-4 and 8 GPUs × 4 images. It names no weight decay; this is that of EfficientFormer, which it follows.
_base_ = './mask_rcnn_timm.py'
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=32)
