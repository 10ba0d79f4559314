# FasterNet-L, with the authors' ImageNet weights, and the channels of its four feature maps.
# Generated from mmfasternet/models/variants.py by tools/benchmark/model_zoo.py; do not edit.
checkpoint = 'https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_l-epoch.299-val_acc1.83.5060.pth'
backbone = dict(type='FasterNet', arch='l', init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
channels = [192, 384, 768, 1536]
