"""A training of seconds, on the generated images of the tests."""

from pathlib import Path

from .project import ROOT

# Three epochs of three iterations, with all that can be lost: moving averages, random data and layers, several
# schedules, and a validation of three batches.
SMALL = """_base_ = '{demo}'
data_root = '{data}'
model = dict(
    backbone=dict(_delete_=True, type='FasterNet', arch=dict(embed_dims=40, depths=(1, 1, 2, 1)), drop_path_rate=0.2),
    neck=dict(out_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=32),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=32),
        bbox_head=dict(in_channels=32, fc_out_channels=128),
        mask_roi_extractor=dict(out_channels=32),
        mask_head=dict(num_convs=1, in_channels=32, conv_out_channels=32),
    ),
)
train_dataloader = dict(batch_size=4, dataset=dict(data_root=data_root))
val_dataloader = dict(batch_size=2, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + '/annotations/instances_val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=3, val_begin=1, val_interval=1)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=1))
custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.01)]
"""


def write_small_config(path: Path, data: Path) -> Path:
    path.write_text(SMALL.format(demo=ROOT / 'configs/demo/mask_rcnn_fasternet_t0_shapes.py', data=data))
    return path
