# ImageNet-1k as the paper trains on it (Table 6): crops of 192² pixels in epochs 1 to 280 and of 224² from epoch 281;
# tested at 224² with a crop ratio of 0.9. What the table leaves open (interpolation, mean and standard deviation)
# follows the authors' code, github.com/JierunChen/FasterNet, data/custom_imagenet_data.py.
data_root = 'data/imagenet/'

load_192 = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=192, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
]
load_224 = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
]
# timm's rand-m<magnitude_level>-mstd0.5-inc1, padded with the mean colour. The configs of T1 to L insert it between
# load and pack, each with its own level.
rand_augment = dict(
    type='RandAugment',
    policies='timm_increasing',
    num_policies=2,
    magnitude_std=0.5,
    hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
)
pack = [dict(type='PackInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=248, edge='short', backend='pillow', interpolation='bicubic'),  # ⌊224 / 0.9⌋
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
# 8 GPUs × 512 images.
train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ImageNet', data_root=data_root, split='train', pipeline=[*load_192, *pack]),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ImageNet', data_root=data_root, split='val', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
custom_hooks = [
    dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=281, train_pipeline=[*load_224, *pack])]),
]
