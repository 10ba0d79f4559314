# FasterNet-M, with the authors' ImageNet weights, and the channels of its four feature maps.
# Generated from mmfasternet/models/variants.py by tools/benchmark/model_zoo.py; do not edit.
checkpoint = 'https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_m-epoch.291-val_acc1.82.9620.pth'
backbone = dict(type='FasterNet', arch='m', init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
channels = [144, 288, 576, 1152]
