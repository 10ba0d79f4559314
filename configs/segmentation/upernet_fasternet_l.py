# UPerNet with FasterNet-L on ADE20K, 160k iterations.
_base_ = ['../_base_/upernet_fasternet.py', '../_base_/backbones/fasternet_l.py']
model = dict(
    backbone=_base_.backbone,
    decode_head=dict(in_channels=_base_.channels),
    auxiliary_head=dict(in_channels=_base_.channels[2]),
)
