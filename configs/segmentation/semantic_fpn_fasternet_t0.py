# Semantic FPN with FasterNet-T0 on ADE20K, 80k iterations.
_base_ = ['../_base_/semantic_fpn_fasternet.py', '../_base_/backbones/fasternet_t0.py']
model = dict(backbone=_base_.backbone, neck=dict(in_channels=_base_.channels))
