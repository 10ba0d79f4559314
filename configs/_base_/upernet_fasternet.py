# UPerNet with FasterNet on ADE20K by mmseg's recipe for Swin, but for what differs between the variants: arch, the
# heads' in_channels and weights. Drop path comes with the variant; the backbone's BN is synchronized, as ResNet's is in
# mmseg's _base_/models/upernet_r50.py. Swin pads its maps inside. FasterNet drops the pixels that fill no stride, and
# UPerNet would stretch what is left over the whole picture, hence test pictures are padded to multiples of 32.
_base_ = ['./upernet.py', './ade20k.py', './schedule_160k_seg.py', './runtime_seg.py']
model = dict(
    data_preprocessor=dict(size=(512, 512), test_cfg=dict(size_divisor=32)),
    backbone=dict(type='FasterNet', norm_cfg=dict(type='SyncBN')),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150),
)
train_dataloader = dict(batch_size=2)
default_hooks = dict(checkpoint=dict(interval=16000))
