# FasterNet-S, with the authors' ImageNet weights, and the channels of its four feature maps.
# Generated from mmfasternet/models/variants.py by tools/benchmark/model_zoo.py; do not edit.
checkpoint = 'https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_s-epoch.299-val_acc1.81.2840.pth'
backbone = dict(type='FasterNet', arch='s', init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
channels = [128, 256, 512, 1024]
