# FasterNet-T1, with the authors' ImageNet weights, and the channels of its four feature maps.
# Generated from mmfasternet/models/variants.py by tools/benchmark/model_zoo.py; do not edit.
checkpoint = (
    'https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_t1-epoch.291-val_acc1.76.2180.pth'
)
backbone = dict(type='FasterNet', arch='t1', init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
channels = [64, 128, 256, 512]
