# FasterNet-T0, with the authors' ImageNet weights, and the channels of its four feature maps.
# Generated from mmfasternet/models/variants.py by tools/benchmark/model_zoo.py; do not edit.
checkpoint = (
    'https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_t0-epoch.281-val_acc1.71.9180.pth'
)
backbone = dict(type='FasterNet', arch='t0', init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
channels = [40, 80, 160, 320]
