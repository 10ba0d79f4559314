_base_ = './_base_trained.py'
custom_imports = dict(imports=['mmfasternet', 'mmfasternet.engine.runner', 'mmpretrain.models'])
model = dict(
    backbone=dict(
        type='mmpretrain.PoolFormer', arch='s12', out_indices=[0, 2, 4, 6], drop_path_rate=0.0, frozen_stages=-1
    ),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
