# Photographs of seven kinds of animals with polygons, as Roboflow exports them, from random weights on a CPU: in
# data/animals_coco, 160 images to train on and 50 to test on, which are a part of
# https://github.com/KomaHomu/Applying-Mask-RCNN-in-endangered-animals-detection.
_base_ = '../_base_/light_training.py'

classes = ('bear', 'deer', 'elephant', 'otter', 'rhesus monkey', 'tiger', 'turtle')
data_root = 'data/animals_coco/dataset/'
image_size = (192, 192)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='train/_annotations.coco.json',
        data_prefix=dict(img='train/'),
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file='valid/_annotations.coco.json',
        data_prefix=dict(img='valid/'),
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'valid/_annotations.coco.json')
test_evaluator = val_evaluator
_base_.train_dataloader.dataset.pipeline[2].scale = image_size
_base_.val_dataloader.dataset.pipeline[2].scale = image_size
_base_.test_dataloader.dataset.pipeline[2].scale = image_size

max_epochs = 8  # of 80 iterations
# No validation: the exported file is tested.
train_cfg = dict(max_epochs=max_epochs, val_begin=max_epochs + 1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', T_max=max_epochs, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(save_best=None))
