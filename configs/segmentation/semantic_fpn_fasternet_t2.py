# Semantic FPN with FasterNet-T2 on ADE20K, 80k iterations.
_base_ = ['../_base_/semantic_fpn_fasternet.py', '../_base_/backbones/fasternet_t2.py']
model = dict(backbone=_base_.backbone, neck=dict(in_channels=_base_.channels))
