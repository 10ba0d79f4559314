# A classifier of the crops that tools/data/make_crops.py cuts from the generated shapes: a small stand-in for ImageNet.
# mask_rcnn_fasternet_t0_shapes_pretrained.py starts from its backbone.
_base_ = ['../_base_/light_classifier.py', '../_base_/backbones/fasternet_t0.py']
data_root = 'data/shape_crops/'

model = dict(
    backbone=dict(
        _base_.backbone,
        out_indices=(3,),
        out_norm=False,
        init_cfg=dict(type='Kaiming', layer='Conv2d'),  # like the detector trained from scratch
    ),
    head=dict(num_classes=6, in_channels=_base_.channels[-1]),
)
train_dataloader = dict(dataset=dict(data_root=data_root, data_prefix='train'))
val_dataloader = dict(dataset=dict(data_root=data_root, data_prefix='val'))
test_dataloader = val_dataloader

max_epochs = 10
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
