# UPerNet with FasterNet on ADE20K by mmseg's recipe for Swin, without what differs between the variants: the backbone
# and the heads' in_channels. The drop path rate comes with the variant. The backbone's BN is synchronized, as that of
# ResNet is in mmseg's _base_/models/upernet_r50.py. Swin pads its feature maps itself. FasterNet drops the pixels that
# don't fill a stride, and UPerNet would stretch the rest over the image, so test images are padded to multiples of 32.
_base_ = ['./upernet.py', './ade20k.py', './schedule_160k_seg.py', './runtime_seg.py']
model = dict(
    data_preprocessor=dict(size=(512, 512), test_cfg=dict(size_divisor=32)),
    backbone=dict(type='FasterNet', norm_cfg=dict(type='SyncBN')),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150),
)
train_dataloader = dict(batch_size=2)
default_hooks = dict(checkpoint=dict(interval=16000))
