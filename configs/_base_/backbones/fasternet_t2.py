# FasterNet-T2, with the authors' ImageNet weights, and the channels of its four feature maps.
# Generated from mmfasternet/models/variants.py by tools/benchmark/model_zoo.py; do not edit.
checkpoint = (
    'https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_t2-epoch.289-val_acc1.78.8860.pth'
)
backbone = dict(type='FasterNet', arch='t2', init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
channels = [96, 192, 384, 768]
